#!/usr/bin/env bash
# Ends the test cluster and removes all that it has left on the machine.
. "$(dirname "$0")/lib.sh"
. ./network.sh
. ./machine.sh

# Whatever is in the cluster's own control group is a container's.
containers_pids() {
  local folder
  cgroup_folders | while read -r folder; do
    [ ! -d "$folder" ] || find "$folder" -name cgroup.procs -exec cat {} + 2>/dev/null
  done | sort -un
}
kill_containers() {
  local pids
  pids=$(containers_pids)
  # shellcheck disable=SC2086 — one word each.
  [ -z "$pids" ] || kill -KILL $pids 2>/dev/null || true
  [ -z "$(containers_pids)" ]
}
# Each shim serves one pod and names our socket; it ends when its pod's tasks are deleted, or here.
shims() { pgrep -f -- "^[^ ]*containerd-shim.* -address $CONTAINERD( |\$)" || true; }
remove_tasks() {
  local task
  [ -S "$CONTAINERD" ] && pid_of containerd >/dev/null || return 0
  for task in $(timeout 10 ctr --address "$CONTAINERD" --namespace k8s.io task ls -q 2>/dev/null); do
    timeout 10 ctr --address "$CONTAINERD" --namespace k8s.io task rm -f "$task" >/dev/null 2>&1 || true
  done
}
unmount_all() {
  local point
  # The last mounted first.
  awk -v "below=$STATE/" 'index($5, below) == 1 { print $5 }' /proc/self/mountinfo | tac | while read -r point; do
    umount -l "$(printf '%b' "$point")" || true
  done
}

exec 8>"$CACHE/cluster.lock"
flock 8
if [ -d "$STATE" ]; then
  say "taking Kubernetes down"
  stop kubelet
  for component in kube-scheduler kube-controller-manager kube-proxy; do stop "$component"; done
  until_true 10 kill_containers || say "processes of containers do not end: $(containers_pids | tr '\n' ' ')"
  remove_tasks
  stop containerd
  for shim in $(shims); do kill -KILL "$shim" 2>/dev/null || true; done
  stop kube-apiserver
  stop etcd
  unmount_all
fi
network_down
restore_machine
rm -rf "$STATE"
