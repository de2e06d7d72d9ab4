#!/usr/bin/env bash
# host/core decides and does nothing: nothing that does I/O may stand in its dependency tree, however deep.
set -euo pipefail
cd "$(dirname "$0")/../.."

tree=$(cargo tree --quiet --package ignite-core --edges normal --prefix none --format '{p}' | cut -d' ' -f1 | sort -u)
impure=$(grep -xE 'tokio|tokio-.*|async-std|mio|sled|tonic|kube|wasmtime|hyper|axum|reqwest|rustix|nix' <<<"$tree" || true)
if [ -n "$impure" ]; then
  echo "host/core must not depend on:" $impure >&2
  exit 1
fi
