# escape=`
FROM --platform=a`b debian
RUN --mount=`"x --network=\\ y
