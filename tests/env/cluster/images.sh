# Images in the node's containerd. Sourced.

# import_image LAYOUT:TAG NAME: as NAME:TAG, unless it is there.
import_image() {
  local layout=${1%:*} tag=${1##*:} name=$2
  [ -n "$(node_ctr images ls -q "name==$name:$tag")" ] ||
    tar -C "$layout" -cf - . | node_ctr images import --base-name "$name" - >/dev/null
  # A kubelet that is short of disk removes those that no pod uses, and these cannot be pulled.
  node_ctr images label "$name:$tag" io.cri-containerd.pinned=pinned >/dev/null
}
