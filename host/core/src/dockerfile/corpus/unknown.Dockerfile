FROM debian
FETCH x
