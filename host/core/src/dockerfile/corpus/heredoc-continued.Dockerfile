FROM debian
RUN cat <<EOF \
  && echo <<F
a \
EOF
F
USER x
