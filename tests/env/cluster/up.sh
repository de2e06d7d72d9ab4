#!/usr/bin/env bash
# Brings up one node of Kubernetes, as root, and prints how to reach it; quick when it is up. After `make setup`.
. "$(dirname "$0")/lib.sh"
set -o errtrace
for name in KUBERNETES PAUSE_IMAGE KANIKO_IMAGE FETCH_BASE; do
  [ -n "$(setup_made "$name")" ] || { say "$name is not set up here: run make setup"; exit 1; }
done
. ./network.sh
. ./certificates.sh
. ./config.sh
. ./components.sh
. ./images.sh
. ./machine.sh
image_name() { echo "ignite.test/$1:${2##*:}"; }
PAUSE_IMAGE=$(image_name pause "$(setup_made PAUSE_IMAGE)")
KANIKO_IMAGE=$(image_name kaniko "$(setup_made KANIKO_IMAGE)")

bring_up() {
  local component
  mkdir -p "$STATE"/{pids,logs,containerd}
  network_up
  prepare_machine
  prepare_disk
  [ -e "$STATE/admin.kubeconfig" ] || make_certificates
  [ -e "$STATE/kubelet.yaml" ] || write_config
  start_component etcd
  start_component containerd
  start_component kube-apiserver
  until_true 30 node_ctr version
  import_image "$(setup_made PAUSE_IMAGE)" ignite.test/pause
  until_true 60 kubectl get --raw /readyz
  for component in kubelet kube-controller-manager kube-scheduler kube-proxy; do start_component "$component"; done
  until_true 60 kubectl wait --for=condition=Ready "node/$NODE" --timeout=1s
  # Pods are refused until their namespace's account is there.
  until_true 30 kubectl get serviceaccount default
}

healthy() {
  local component
  for component in "${COMPONENTS[@]}"; do pid_of "$component" >/dev/null || return 1; done
  kubectl wait --for=condition=Ready "node/$NODE" --timeout=5s >/dev/null 2>&1
}

exec 8>"$CACHE/cluster.lock"
flock 8
if ! healthy; then
  say "bringing up Kubernetes"
  trap 'say "it does not come up; see $STATE/logs"' ERR
  bring_up
  trap - ERR
fi
import_image "$(setup_made KANIKO_IMAGE)" ignite.test/kaniko
cat <<TEXT
KUBECONFIG=$KUBECONFIG
KUBECTL=$KUBERNETES/kubectl
KANIKO_IMAGE=$KANIKO_IMAGE
HOST_ADDRESS=$HOST_ADDRESS
TEXT
