FROM debian
RUN <<EOF ${Aा}
USER x
