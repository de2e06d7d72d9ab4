# Helm, from the module pinned in helm. Sourced by setup.sh.

build_helm() {
  (cd helm && CGO_ENABLED=0 GOFLAGS='-mod=readonly -buildvcs=false' retry nice go build -trimpath \
    -ldflags="-s -w $helm_stamp" -o "$1/helm" helm.sh/helm/v3/cmd/helm)
}

# As its own Makefile does: which version it is, and that of Kubernetes it takes for granted where it asks no cluster.
helm_of() { awk -v module="$1" '$1 == module { print $2 }' helm/go.mod; }
helm_stamp="-X helm.sh/helm/v3/internal/version.version=$(helm_of helm.sh/helm/v3)"
for package in pkg/lint/rules pkg/chartutil; do
  helm_stamp+=" -X helm.sh/helm/v3/$package.k8sVersionMajor=1"
  helm_stamp+=" -X helm.sh/helm/v3/$package.k8sVersionMinor=$(helm_of k8s.io/client-go | cut -d. -f2)"
done

helm_key=$(key "$(cat helm/go.mod helm/go.sum)" "$helm_stamp" "$(go env GOVERSION)" "$(uname -m)")
once "$CACHE/helm/$helm_key" build_helm
record HELM "$CACHE/helm/$helm_key/helm"
