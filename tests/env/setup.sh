#!/usr/bin/env bash
# Brings a Debian 12 machine with rust, go and python3 to where the gateway can be built, tested and shown.
# Quick when there is nothing to do.
. "$(dirname "$0")/lib.sh"
cd "$REPO/tests/env"

rm -f "$PATHS.new"
. ./debian.sh
. ./kaniko.sh
. ./shim.sh
. ./base-images.sh
# A demo needs no more than the above.
if [ "${1:-all}" != demo ]; then
  . ./cargo-tools.sh
  . ./foreign-clients.sh
  . ./plugins.sh
  . ./kubernetes.sh
  . ./helm.sh
  . ./cluster-images.sh
fi
# What was not asked for this time stays known.
touch "$PATHS"
awk -F= '!seen[$1]++' "$PATHS.new" "$PATHS" >"$PATHS.merged"
mv "$PATHS.merged" "$PATHS" && rm "$PATHS.new"
say "ready; see ${PATHS#"$REPO"/}"
