# comment
# escape=`
FROM debian
RUN a`
USER b
