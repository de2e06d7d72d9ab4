FROM --platform=linux/arm64 debian AS a
RUN --mount=type=cache,target=/root --network="none x" echo --x
COPY --from=a --chown='1:2' -- --x /y
COPY --from=a\ b -x /y
HEALTHCHECK --interval=5s CMD x
ARG --x A=b
