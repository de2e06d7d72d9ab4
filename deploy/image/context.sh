#!/usr/bin/env bash
# context.sh FOLDER [BINARIES]: fills FOLDER with what the Dockerfile beside this script builds the gateway's image from.
# BINARIES holds `ignited`, target/release by default; the shim is the one of `make setup`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../.." && pwd)
folder=$1 binaries=${2:-$repository/target/release}
shim=$(sed -n 's/^SHIM=//p' "$repository/.cache/paths" 2>/dev/null || true)
[ -e "$binaries/ignited" ] || { echo "context.sh: no $binaries/ignited: run cargo build --release -p ignite-server" >&2; exit 1; }
[ -n "$shim" ] || { echo "context.sh: no ignite-shim: run make setup" >&2; exit 1; }
mkdir -p "$folder"
cp "$here/Dockerfile" "$folder/"
strip -o "$folder/ignited" "$binaries/ignited"
cp "$shim" "$folder/ignite-shim"
