# escape=`
FROM debian
RUN <<E\OF
x
EOF
RUN a`
 <<X
y
X
USER x
