# What the set-up scripts share. Sourced, never run.
#
# Everything made here lies in one cache, each thing in a folder named by a hash of what it is made from: done means
# the folder is there, a change of a version or a script makes a new one, and several work trees share them.

set -euo pipefail

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/ignite
# Where each thing is, as KEY=path lines: for the harness, the Makefile and the demo.
PATHS=$REPO/.cache/paths
mkdir -p "$CACHE" "$REPO/.cache"

say() { printf '%s\n' "setup: $*" >&2; }

# retry COMMAND...: mirrors fail now and then.
retry() {
  local attempt
  for attempt in 1 2 3 4; do
    "$@" && return 0
    say "attempt $attempt of 4 failed: $*"
    sleep $((attempt * 5))
  done
  return 1
}

# key TEXT...: names a thing by what it is made from.
key() { printf '%s\0' "$@" | sha256sum | cut -c1-16; }

# once FOLDER FUNCTION: FUNCTION fills the folder given to it; half-made ones are never seen. Other work trees may be
# at it too, so one does it and the rest wait.
once() {
  local folder=$1 make=$2
  [ -d "$folder" ] && return 0
  mkdir -p "$(dirname "$folder")"
  (
    flock 9
    [ -d "$folder" ] && exit 0
    rm -rf "$folder.part" && mkdir "$folder.part"
    say "making ${folder#"$CACHE"/} (once)"
    "$make" "$folder.part"
    mv "$folder.part" "$folder"
  ) 9>"$folder.lock"
}

# record NAME PATH: what `make` and the tests look up.
record() { printf '%s=%s\n' "$1" "$2" >>"$PATHS.new"; }
