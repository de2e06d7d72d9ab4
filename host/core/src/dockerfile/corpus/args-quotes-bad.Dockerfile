ARG A="x'
FROM debian
