# Debian packages. Sourced by setup.sh.

packages=(
  # Where builds run.
  runc crun uidmap
  # The registry, and what reads images back from it: skopeo copies, umoci unpacks.
  docker-registry skopeo umoci
  # Base images.
  debootstrap busybox-static
  # The git servers: `git http-backend` behind lighttpd, and sshd.
  git lighttpd openssh-server openssh-client
  # One node of Kubernetes; its other parts come from a Go module.
  containerd containernetworking-plugins etcd-server iptables iproute2 openssl
  # The linker of .cargo/config.toml, and what watches system calls in the durability test.
  mold strace
  ca-certificates
)
# Only Debian's own python comes without the module that makes virtual environments.
python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)

missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done

install_packages() {
  local policy=/usr/sbin/policy-rc.d status=0 ours=
  # Installed, not started: the tests start their own on free ports.
  if [ ! -e "$policy" ]; then
    ours=1
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
  fi
  export DEBIAN_FRONTEND=noninteractive
  # One source that fails must not keep the others from being used; what is really missing fails the install.
  retry apt-get -q update || true
  retry apt-get -q install -y --no-install-recommends "${missing[@]}" || status=$?
  [ -z "$ours" ] || rm -f "$policy"
  return $status
}

if [ ${#missing[@]} -gt 0 ]; then
  [ "$(id -u)" = 0 ] || { say "needs root to install: ${missing[*]}"; exit 1; }
  say "installing ${missing[*]}"
  install_packages >&2
fi
