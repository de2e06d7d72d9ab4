FROM debian
RUN <<EOF '
USER x
