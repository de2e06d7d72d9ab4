ARG =x
FROM debian
