RUN x
FROM debian
