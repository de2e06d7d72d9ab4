ARG A=\"x\"
ARG B=\"
ARG C=""
FROM a$A
FROM a$B
FROM a$C
