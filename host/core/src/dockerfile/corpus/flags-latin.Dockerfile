FROM debian
RUN --mount=à --network=host x
RUN --mount=  y
RUN --a
