#!/usr/bin/env bash
# image.sh [FOLDER]: gives the running test cluster an image of the `ignited` that FOLDER holds, target/debug by default, and
# of the shim, and prints the image's name. Quick when the same binaries were given before.
#
# The name is one of the contents, so tests of several work trees do not take each other's.
. "$(dirname "$0")/lib.sh"
. ./images.sh
folder=${1:-$REPO/target/debug}
base=$(setup_made FETCH_BASE)

# Debug symbols are nine tenths of it.
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root/root/usr/local/bin"
install_stripped() { strip -o "$root/root/usr/local/bin/$(basename "$1")" "$1"; }
install_stripped "$folder/ignited"
shim=${SHIM:-$(setup_made SHIM)}
[ -z "$shim" ] || install_stripped "$shim"
tag=$(key "$base" "$(cat image.sh)" "$(cd "$root/root" && sha256sum usr/local/bin/*)")
name=ignite.test/fetch
if [ -z "$(node_ctr images ls -q "name==$name:$tag")" ]; then
  python3 ../oci_layout.py "$root/root" "$root/image" "$tag" --base "$base" --level 0 --entrypoint /usr/local/bin/ignited
  exec 8>"$CACHE/cluster-image.lock"
  flock 8
  import_image "$root/image:$tag" "$name"
  # Each is about 200 MB on disk: those of the last few runs stay.
  echo "$name:$tag" >>"$STATE/fetch-images"
  for old in $(head -n -6 "$STATE/fetch-images"); do node_ctr images rm "$old" >/dev/null 2>&1 || true; done
  tail -n 6 "$STATE/fetch-images" >"$STATE/fetch-images.new" && mv "$STATE/fetch-images.new" "$STATE/fetch-images"
fi
echo "$name:$tag"
