# Base images, as OCI layouts that skopeo copies into a registry. Sourced by setup.sh.
#
# No image can be taken from a registry that a test does not own, so Debian is bootstrapped from its packages and
# busybox is one static binary.

DEBIAN_SUITE=bookworm
DEBIAN_MIRROR=${DEBIAN_MIRROR:-http://deb.debian.org/debian}

# empty_debian ROOT: takes out of a bootstrapped root what an image does not need.
empty_debian() {
  local root=$1
  rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* "$root"/usr/share/doc/* \
    "$root"/usr/share/man/* "$root"/usr/share/locale/* "$root"/usr/share/info/*
  # Devices are the runtime's, and a user namespace could not make them.
  rm -rf "${root:?}"/dev/* "${root:?}"/proc/* "${root:?}"/sys/*
}

make_debian() {
  local out=$1 root=$1/root
  retry debootstrap --variant=minbase "$DEBIAN_SUITE" "$root" "$DEBIAN_MIRROR" >&2
  empty_debian "$root"
  python3 oci_layout.py "$root" "$out/image" "$DEBIAN_SUITE" bash
  rm -rf "$root"
}

make_busybox() {
  local out=$1 root=$1/root applet
  mkdir -p "$root"/{bin,etc,tmp,root,home}
  chmod 1777 "$root/tmp"
  cp /bin/busybox "$root/bin/busybox"
  for applet in $(/bin/busybox --list); do
    [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
  done
  printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$root/etc/passwd"
  printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
  python3 oci_layout.py "$root" "$out/image" latest sh
  rm -rf "$root"
}

recipe=$(cat base-images.sh oci_layout.py)
debian_folder=$CACHE/debian/$(key "$recipe" "$DEBIAN_SUITE" "$(uname -m)")
busybox_folder=$CACHE/busybox/$(key "$recipe" "$(sha256sum </bin/busybox)")
once "$debian_folder" make_debian
once "$busybox_folder" make_busybox
record DEBIAN_IMAGE "$debian_folder/image:$DEBIAN_SUITE"
record BUSYBOX_IMAGE "$busybox_folder/image:latest"
