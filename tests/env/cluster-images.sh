# Images that the nodes of the test cluster need, as OCI layouts: no registry has them. Sourced by setup.sh.

# Holds a pod's namespaces. The kubelet ends it with SIGKILL.
make_pause() {
  mkdir -p "$1/root/bin"
  cp /bin/busybox "$1/root/bin/busybox"
  python3 oci_layout.py "$1/root" "$1/image" "$pause_key" /bin/busybox sleep 2147483647
  rm -rf "$1/root"
}

# As Kaniko's own image is laid out.
make_kaniko_image() {
  local root=$1/root
  mkdir -p "$root"/{etc,kaniko/.docker,kaniko/ssl/certs}
  cp "$CACHE/kaniko/$kaniko_key/kaniko-executor" "$root/kaniko/executor"
  cp /etc/ssl/certs/ca-certificates.crt "$root/kaniko/ssl/certs/"
  # The executor is linked statically and looks users up here: without it the first COPY fails.
  printf 'root:x:0:0:root:/root:/bin/sh\n' >"$root/etc/passwd"
  printf 'root:x:0:\n' >"$root/etc/group"
  python3 oci_layout.py "$root" "$1/image" "$kaniko_image_key" --entrypoint /kaniko/executor --level 1 \
    --env HOME=/root --env USER=root --env PATH=/usr/local/bin:/kaniko --env SSL_CERT_DIR=/kaniko/ssl/certs \
    --env DOCKER_CONFIG=/kaniko/.docker/
  rm -rf "$root"
}

# What `ignited` needs around it in a pod; the binary itself is laid on top for each test run: cluster/image.sh.
make_fetch_base() {
  local root=$1/root
  retry debootstrap --variant=minbase --include=ca-certificates,git,openssh-client \
    "$DEBIAN_SUITE" "$root" "$DEBIAN_MIRROR" >&2
  empty_debian "$root"
  python3 oci_layout.py "$root" "$1/image" fetch-base --level 1
  rm -rf "$root"
}

pause_key=$(key "$(declare -f make_pause)" "$(cat oci_layout.py)" "$(sha256sum </bin/busybox)")
kaniko_image_key=$(key "$(declare -f make_kaniko_image)" "$(cat oci_layout.py)" "$kaniko_key" \
  "$(sha256sum </etc/ssl/certs/ca-certificates.crt)")
fetch_base_key=$(key "$(declare -f make_fetch_base empty_debian)" "$(cat oci_layout.py)" "$DEBIAN_SUITE" "$(uname -m)")
once "$CACHE/pause/$pause_key" make_pause
once "$CACHE/kaniko-image/$kaniko_image_key" make_kaniko_image
once "$CACHE/fetch-base/$fetch_base_key" make_fetch_base
record PAUSE_IMAGE "$CACHE/pause/$pause_key/image:$pause_key"
record KANIKO_IMAGE "$CACHE/kaniko-image/$kaniko_image_key/image:$kaniko_image_key"
record FETCH_BASE "$CACHE/fetch-base/$fetch_base_key/image"
