# How each component is started. Sourced.

start_etcd() {
  start etcd etcd --name "$NODE" --data-dir "$STATE/etcd" \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
    --initial-cluster "$NODE=http://127.0.0.1:2380" --logger zap --log-level warn
}

start_kube_apiserver() {
  start kube-apiserver "$KUBERNETES/kube-apiserver" \
    --advertise-address "$NODE_ADDRESS" --secure-port 6443 --service-cluster-ip-range "$SERVICES" \
    --etcd-servers http://127.0.0.1:2379 --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction \
    --client-ca-file "$STATE/pki/ca.crt" \
    --tls-cert-file "$STATE/pki/apiserver.crt" --tls-private-key-file "$STATE/pki/apiserver.key" \
    --kubelet-client-certificate "$STATE/pki/apiserver-to-kubelet.crt" \
    --kubelet-client-key "$STATE/pki/apiserver-to-kubelet.key" \
    --kubelet-certificate-authority "$STATE/pki/ca.crt" --kubelet-preferred-address-types InternalIP \
    --service-account-issuer https://kubernetes.default.svc.cluster.local \
    --service-account-key-file "$STATE/pki/service-accounts.key" \
    --service-account-signing-key-file "$STATE/pki/service-accounts.key"
}

start_kube_controller_manager() {
  start kube-controller-manager "$KUBERNETES/kube-controller-manager" \
    --kubeconfig "$STATE/controller-manager.kubeconfig" --leader-elect=false --use-service-account-credentials \
    --root-ca-file "$STATE/pki/ca.crt" --service-account-private-key-file "$STATE/pki/service-accounts.key" \
    --authentication-kubeconfig "$STATE/controller-manager.kubeconfig" \
    --authorization-kubeconfig "$STATE/controller-manager.kubeconfig" --bind-address 127.0.0.1 \
    --cert-dir "$STATE/controller-manager"
}

start_kube_scheduler() {
  start kube-scheduler "$KUBERNETES/kube-scheduler" \
    --kubeconfig "$STATE/scheduler.kubeconfig" --leader-elect=false \
    --authentication-kubeconfig "$STATE/scheduler.kubeconfig" \
    --authorization-kubeconfig "$STATE/scheduler.kubeconfig" --bind-address 127.0.0.1 --cert-dir "$STATE/scheduler"
}

start_containerd() { start containerd containerd --config "$STATE/containerd.toml"; }

start_kubelet() {
  # Files in kubelet.d, named *.conf, are laid over kubelet.yaml.
  start kubelet "$KUBERNETES/kubelet" --config "$STATE/kubelet.yaml" --config-dir "$STATE/kubelet.d" \
    --kubeconfig "$STATE/node.kubeconfig" --root-dir "$STATE/kubelet" --cert-dir "$STATE/kubelet/pki" \
    --hostname-override "$NODE" --node-ip "$NODE_ADDRESS"
}

start_kube_proxy() {
  start kube-proxy "$KUBERNETES/kube-proxy" --kubeconfig "$STATE/proxy.kubeconfig" --hostname-override "$NODE" \
    --proxy-mode iptables --cluster-cidr "$PODS" --bind-address "$NODE_ADDRESS" \
    --metrics-bind-address 127.0.0.1:10249 \
    --conntrack-max-per-core 0 --conntrack-tcp-timeout-established 0s --conntrack-tcp-timeout-close-wait 0s
}

start_component() { "start_${1//-/_}"; }
