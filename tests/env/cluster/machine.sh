# What of the machine itself changes while the test cluster is up, and how it is put back. Sourced.

# The kubelet sets these as it likes them.
KERNEL_SETTINGS=(vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys
  kernel/keys/root_maxbytes)

# Sparse: it takes what is in it. As large as disks of nodes are: pods ask for their share of it.
KUBELET_DISK=200G
KUBELET_FILES_MAX=500000

# The kubelet's files, and so pods' volumes, on a disk of their own: a test fills it, and images, which nothing could pull
# again, are on another and no reason for a shortage.
prepare_disk() {
  mkdir -p "$STATE/kubelet"
  ! mountpoint -q "$STATE/kubelet" || return 0
  if [ ! -e "$STATE/kubelet.disk" ]; then
    truncate -s "$KUBELET_DISK" "$STATE/kubelet.disk.new"
    mkfs.ext4 -q -m 0 -J size=16 -N "$KUBELET_FILES_MAX" "$STATE/kubelet.disk.new"
    mv "$STATE/kubelet.disk.new" "$STATE/kubelet.disk"
  fi
  mount -o loop,discard "$STATE/kubelet.disk" "$STATE/kubelet" ||
    say "without loop devices the kubelet has no disk of its own: the test of a shortage will fail"
}

prepare_machine() {
  local setting folder
  if [ ! -e "$STATE/kernel-settings" ]; then
    for setting in "${KERNEL_SETTINGS[@]}"; do
      echo "$setting $(cat "/proc/sys/$setting")"
    done >"$STATE/kernel-settings.new"
    # What was there before, to tell what came with the cluster.
    mv "$STATE/kernel-settings.new" "$STATE/kernel-settings"
  fi
  cgroup_folders | while read -r folder; do
    mkdir -p "$folder"
    # The first hierarchy to have no cpus and memory nodes of its own takes no process.
    if [ -e "$folder/cpuset.cpus" ] && [ ! -e /sys/fs/cgroup/cgroup.controllers ]; then
      cat "$folder/../cpuset.cpus" >"$folder/cpuset.cpus"
      cat "$folder/../cpuset.mems" >"$folder/cpuset.mems"
    fi
  done
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    for folder in /sys/fs/cgroup "/sys/fs/cgroup/$CGROUP"; do
      sed 's/\(^\| \)/ +/g' "$folder/cgroup.controllers" >"$folder/cgroup.subtree_control"
    done
  fi
}

restore_machine() {
  local setting value folder link
  if [ -e "$STATE/kernel-settings" ]; then
    while read -r setting value; do echo "$value" >"/proc/sys/$setting"; done <"$STATE/kernel-settings"
  fi
  cgroup_folders | while read -r folder; do
    [ ! -d "$folder" ] || find "$folder" -depth -type d -exec rmdir {} +
  done
  # Names that the kubelet and libcni use whatever they are told.
  for link in /var/log/containers/*; do
    [ ! -L "$link" ] || case $(readlink "$link") in "$STATE"/*) rm "$link" ;; esac
  done
  rm -rf /var/lib/cni/results/ignite-cluster-*
  rmdir --ignore-fail-on-non-empty /var/log/containers /var/lib/cni/results /var/lib/cni \
    /run/containerd/{s,fifo,} 2>/dev/null || true
}
