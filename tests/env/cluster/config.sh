# The files that containerd, CNI and the kubelet read. Sourced.

write_config() {
  mkdir -p "$STATE"/{cni,registries,kubelet.d,pod-logs,volume-plugins}
  # Nobody answers there: a pod that asks for a name is refused at once instead of waiting for a server out of reach.
  echo nameserver 127.0.0.1 >"$STATE/resolv.conf"
  cat >"$STATE/containerd.toml" <<TOML
version = 2
root = "$STATE/containerd/root"
state = "$STATE/containerd/state"
oom_score = 0
[grpc]
address = "$CONTAINERD"
[plugins."io.containerd.internal.v1.opt"]
path = "$STATE/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "$PAUSE_IMAGE"
# Without CAP_SYS_RESOURCE no process may make itself less likely to be killed.
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "$STATE/cni"
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "$STATE/registries"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
Root = "$STATE/runc"
TOML
  # A pair for each pod rather than a bridge: all that pods say to each other is routed, so services work among them too.
  cat >"$STATE/cni/10-ignite.conflist" <<JSON
{
  "cniVersion": "0.4.0",
  "name": "ignite-cluster",
  "plugins": [
    {
      "type": "ptp",
      "ipMasq": false,
      "ipam": {
        "type": "host-local",
        "ranges": [[{ "subnet": "$PODS" }]],
        "routes": [{ "dst": "0.0.0.0/0" }],
        "dataDir": "$STATE/addresses"
      }
    },
    { "type": "portmap", "capabilities": { "portMappings": true } }
  ]
}
JSON
  cat >"$STATE/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  # Or reading logs with the API server's certificate is refused.
  webhook: {enabled: true}
  x509: {clientCAFile: $STATE/pki/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: $STATE/pki/kubelet.crt
tlsPrivateKeyFile: $STATE/pki/kubelet.key
containerRuntimeEndpoint: unix://$CONTAINERD
podLogsDir: $STATE/pod-logs
volumePluginDir: $STATE/volume-plugins
resolvConf: $STATE/resolv.conf
cgroupDriver: cgroupfs
cgroupRoot: /$CGROUP
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
# No CAP_SYS_RESOURCE.
oomScoreAdj: 0
makeIPTablesUtilChains: false
maxPods: 250
# Small disks are no reason to evict what a test runs, nor to remove images that nothing could pull again.
evictionHard: {memory.available: 100Mi, nodefs.available: 256Mi, imagefs.available: 1%}
# A shortage is over when it is over.
evictionPressureTransitionPeriod: 1s
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
# Else an imported image, once its content was pulled under another name, has to be pulled as well.
imagePullCredentialsVerificationPolicy: NeverVerify
YAML
}
