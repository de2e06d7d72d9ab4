# Kubernetes: control plane, kubelet and kubectl from the module pinned in cluster/kubernetes. Sourced by setup.sh.
#
# One binary with a name for each, as most of what is in them is the same.

build_kubernetes() {
  local out=$1 name
  (cd cluster/kubernetes &&
    CGO_ENABLED=0 GOFLAGS='-mod=readonly -buildvcs=false' retry nice go build -trimpath \
      -ldflags="-s -w $kubernetes_stamp" -o "$out/kubernetes" .)
  for name in kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl; do
    ln -s kubernetes "$out/$name"
  done
}

# Without a version the binary calls itself v0.0.0, which clients and the kubelet's checks of skew trip over.
kubernetes_version=$(awk '$1 == "k8s.io/kubernetes" { print $2 }' cluster/kubernetes/go.mod)
kubernetes_stamp="-X k8s.io/component-base/version.gitVersion=$kubernetes_version"
kubernetes_stamp+=" -X k8s.io/component-base/version.gitMajor=$(cut -d. -f1 <<<"${kubernetes_version#v}")"
kubernetes_stamp+=" -X k8s.io/component-base/version.gitMinor=$(cut -d. -f2 <<<"$kubernetes_version")"

kubernetes_key=$(key "$(cat cluster/kubernetes/{main.go,go.mod,go.sum})" "$kubernetes_stamp" "$(go env GOVERSION)" "$(uname -m)")
once "$CACHE/kubernetes/$kubernetes_key" build_kubernetes
record KUBERNETES "$CACHE/kubernetes/$kubernetes_key"
