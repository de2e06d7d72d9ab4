# What the scripts of the test cluster share: names, addresses, and how its processes are started and stopped. Sourced.
#
# The node is a network namespace of its own, joined to the machine by one veth pair. So nothing of it can clash with
# the machine's addresses and packet filter, and all of it goes with the namespace. There is one such node on a machine;
# work trees share it.

. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
cd "$REPO/tests/env/cluster"

# Short, for the names of sockets have at most 107 bytes.
STATE=/var/lib/ignite-cluster
NODE=ignite-node
NETWORK=ignite-cluster
CGROUP=ignite-cluster
# The machine's end of the veth pair: where pods find what tests run on the machine. And the node's own address.
HOST_ADDRESS=10.214.0.1
NODE_ADDRESS=10.214.0.2
PODS=10.214.64.0/18
SERVICES=10.214.128.0/17
API_SERVICE=10.214.128.1
KUBECONFIG=$STATE/admin.kubeconfig
CONTAINERD=$STATE/containerd/containerd.sock
COMPONENTS=(etcd kube-apiserver kube-controller-manager kube-scheduler containerd kubelet kube-proxy)

setup_made() { sed -n "s/^$1=//p" "$PATHS"; }
KUBERNETES=$(setup_made KUBERNETES)

kubectl() { "$KUBERNETES/kubectl" --kubeconfig "$KUBECONFIG" --cache-dir "$STATE/kubectl" "$@"; }
node_ctr() { ctr --address "$CONTAINERD" --namespace k8s.io "$@"; }
on_node() { nsenter --net="/run/netns/$NETWORK" "$@"; }

# until_true SECONDS COMMAND...: waits for it to succeed.
until_true() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $deadline ] || return 1
    sleep 0.1
  done
}

# pid_of COMPONENT: of the process that was recorded, if it is still that process.
pid_of() {
  local pid
  pid=$(cat "$STATE/pids/$1" 2>/dev/null) && tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q "$STATE" && echo "$pid"
}

# start COMPONENT COMMAND...: on the node's network, unless it runs; what it says goes to its log.
start() {
  local name=$1
  shift
  pid_of "$name" >/dev/null && return 0
  rm -f "$STATE/pids/$name"
  # The lock of whoever calls must not live on in a daemon.
  setsid nsenter --net="/run/netns/$NETWORK" sh -c 'echo $$ >"$0.new" && mv "$0.new" "$0"; exec "$@"' "$STATE/pids/$name" "$@" \
    </dev/null >>"$STATE/logs/$name.log" 2>&1 8>&- 9>&- &
  until_true 5 test -s "$STATE/pids/$name"
}

# Also true of one that nobody has waited for yet, which may take init seconds.
has_ended() { [ ! -e "/proc/$1/exe" ]; }

# stop COMPONENT [SIGNAL]: returns when it has ended.
stop() {
  local pid
  pid=$(pid_of "$1") || return 0
  kill "-${2:-TERM}" "$pid"
  # One that was paused ends only when it goes on.
  kill -CONT "$pid" 2>/dev/null || true
  until_true 15 has_ended "$pid" || { kill -KILL "$pid" && until_true 5 has_ended "$pid"; }
  rm -f "$STATE/pids/$1"
}

# cgroup_folders: the test cluster's own control group in each hierarchy there is.
cgroup_folders() {
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    echo "/sys/fs/cgroup/$CGROUP"
  else
    awk '$3 ~ /^cgroup2?$/ { print $2 }' /proc/mounts | sort -u | sed "s|\$|/$CGROUP|"
  fi
}
