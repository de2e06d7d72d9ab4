FROM debian
RUN zz<<E"${x:-c}"F
d
F
USER x
E${x:-c}F
