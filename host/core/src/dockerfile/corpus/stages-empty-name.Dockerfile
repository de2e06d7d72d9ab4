FROM debian
FROM ${NO:+x}
FROM a AS b
