ARG S=Build
FROM debian AS build
FROM $S
FROM "bui"ld
FROM ${S:+scratch}
FROM $S$X
#arg X=
