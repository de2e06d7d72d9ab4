FROM debian
RUN a \
  b
USER c
# x
RUN <<EOF
hello
EOF
