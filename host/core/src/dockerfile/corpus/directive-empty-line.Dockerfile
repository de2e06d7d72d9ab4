
# escape=`
FROM a
RUN `
USER b
