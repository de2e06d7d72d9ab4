# Images in the node's containerd. Sourced.

# import_image LAYOUT:TAG NAME: as NAME:TAG, unless it is there.
import_image() {
  local layout=${1%:*} tag=${1##*:} name=$2
  [ -z "$(node_ctr images ls -q "name==$name:$tag")" ] || return 0
  tar -C "$layout" -cf - . | node_ctr images import --base-name "$name" - >/dev/null
}
