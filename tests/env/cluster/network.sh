# The node's network: a namespace, a veth pair, routes to pods and services. Sourced.

network_up() {
  [ -e "/run/netns/$NETWORK" ] || ip netns add "$NETWORK"
  if ! ip link show ignite-host >/dev/null 2>&1; then
    ip link add ignite-host type veth peer name eth0 netns "$NETWORK"
  fi
  ip address replace "$HOST_ADDRESS/30" dev ignite-host
  ip link set ignite-host up
  ip -n "$NETWORK" link set lo up
  ip -n "$NETWORK" address replace "$NODE_ADDRESS/30" dev eth0
  ip -n "$NETWORK" link set eth0 up
  # No default route: a pod reaches the machine's end, other pods and services, and nothing else.
  ip route replace "$PODS" via "$NODE_ADDRESS"
  ip route replace "$SERVICES" via "$NODE_ADDRESS"
  on_node sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
}

network_down() {
  # The pair goes with either end, the routes with it.
  ip link delete ignite-host 2>/dev/null || true
  [ ! -e "/run/netns/$NETWORK" ] || ip netns delete "$NETWORK"
  # Made, as a mount of itself, for the first namespace of a name.
  [ -n "$(ls -A /run/netns 2>/dev/null)" ] || ! umount /run/netns 2>/dev/null || rmdir /run/netns
}
