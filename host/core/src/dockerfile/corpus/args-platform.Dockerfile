FROM debian-${TARGETARCH:-none}
FROM --platform=$BUILDPLATFORM debian
