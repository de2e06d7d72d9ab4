#!/usr/bin/env bash
# Shows the gateway at work on this machine: a registry and a gateway of its own, one build, and the image run by tools
# that are not ours. `make demo` calls it. Everything it keeps is under .demo; what it starts ends with it.
set -euo pipefail
cd "$(dirname "$0")/.."

made() { sed -n "s/^$1=//p" .cache/paths; }
say() { printf '\n\033[1m==> %s\033[0m\n' "$*"; }
fail() { printf 'demo: %s\n' "$*" >&2; exit 1; }
# wait_for FILE SED_COMMAND PID: the first line that the command prints of a growing file.
wait_for() {
  local found
  for _ in $(seq 300); do
    found=$(sed -nE "$2" "$1" | head -1)
    [ -z "$found" ] || { echo "$found"; return 0; }
    kill -0 "$3" 2>/dev/null || break
    sleep 0.1
  done
  cat "$1" >&2
  return 1
}

# A build's root is an unprivileged user of this machine, which must be able to pass every folder above.
passable() {
  local folder=$PWD
  while [ "$folder" != / ]; do
    [ $((0$(stat -c %a "$folder") & 1)) = 1 ] || return 1
    folder=$(dirname "$folder")
  done
}

pids=()
stop() {
  local pid
  # Newest first: the gateway ends its business before the registry goes.
  for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
    pid=${pids[i]}
    kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true
  done
}
trap stop EXIT

rm -rf .demo
if passable; then
  mkdir .demo
else
  ln -s "$(mktemp -d /tmp/ignite-demo.XXXXXX)" .demo
  chmod 755 .demo/
fi
demo=$(cd .demo && pwd -P)

say "Building the daemon and the client"
cargo build --quiet --workspace --bins
binaries=$(cd "${CARGO_TARGET_DIR:-target}/debug" && pwd)
ignited=$binaries/ignited ignite=$binaries/ignite

say "Starting a registry, with two base images in it"
cat >"$demo/registry.yml" <<CONFIG
version: 0.1
log: {level: info, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $demo/registry}, delete: {enabled: true}}
http: {addr: '127.0.0.1:0'}
CONFIG
docker-registry serve "$demo/registry.yml" >"$demo/registry.log" 2>&1 &
pids+=($!)
registry=$(wait_for "$demo/registry.log" 's/.*listening on ([0-9.:]+).*/\1/p' $!) || fail "the registry did not start"
for image in "$(made DEBIAN_IMAGE) library/debian:bookworm" "$(made BUSYBOX_IMAGE) library/busybox:latest"; do
  skopeo copy --quiet --dest-tls-verify=false "oci:${image% *}" "docker://$registry/${image#* }"
  echo "$registry/${image#* }"
done

say "Starting the gateway"
touch "$demo/tokens"
IGNITE_TOKEN=$("$ignited" token create --organization acme --subject demo --scopes builds:read,builds:write \
  --file "$demo/tokens")
export IGNITE_TOKEN
IGNITED_LISTEN=127.0.0.1:0 IGNITED_DATA_DIR=$demo/data IGNITED_TOKENS_FILE=$demo/tokens \
  IGNITED_REGISTRY=$registry IGNITED_REGISTRY_INSECURE=true IGNITED_KANIKO=$(made KANIKO) \
  "$ignited" >"$demo/ignited.log" 2>&1 &
pids+=($!)
gateway=$(wait_for "$demo/ignited.log" '/listening/s/.*addr[^0-9]*([0-9.]+:[0-9]+).*/\1/p' $!) || fail "the gateway did not start"
export IGNITE_API_ENDPOINT=http://$gateway
echo "$IGNITE_API_ENDPOINT"

say "ignite build create demo/hello --context deploy/demo --follow"
"$ignite" build create demo/hello --context deploy/demo --build-arg "REGISTRY=$registry" --build-arg WHO=there \
  --tag v1 --tag latest --follow

say "ignite build list"
"$ignite" build list

say "Taking the image back with skopeo, and running it with runc"
reference=$registry/acme/demo/hello:v1
skopeo inspect --tls-verify=false --format 'digest {{.Digest}}' "docker://$reference"
skopeo copy --quiet --src-tls-verify=false "docker://$reference" "oci:$demo/image:v1"
umoci unpack --image "$demo/image:v1" "$demo/bundle" 2>/dev/null
sed -i 's/"terminal": *true/"terminal": false/' "$demo/bundle/config.json"
runc --root "$demo/runc" run --bundle "$demo/bundle" "ignite-demo-$$"

say "Done"
cat <<END
The image was $reference. Logs, the gateway's data and the registry's storage stay in $demo until the next demo.
END
