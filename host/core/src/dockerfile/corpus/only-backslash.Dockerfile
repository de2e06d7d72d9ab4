\
FROM debian
\
\
  RUN x
USER y \