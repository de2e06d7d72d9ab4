#!/usr/bin/env bash
# Snapshots that no test looks at any more must go: check-snapshots.sh FILE, which names those that were looked at.
set -euo pipefail
cd "$(dirname "$0")/../.."

unseen=$(comm -23 <(git ls-files '*.snap' | sed "s#^#$PWD/#" | sort) <(sort -u "$1" 2>/dev/null || true))
if [ -n "$unseen" ]; then
  printf 'no test refers to these snapshots:\n%s\n' "$unseen" >&2
  exit 1
fi
