FROM debian
RUN ab${x:-c}<<EOF
d
EOF
RUN <<E${x:-c}
d
c}
E${x:-c}
${x:-c}
