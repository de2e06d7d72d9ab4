# An authority for the cluster, a certificate for each of its parts, and their kubeconfigs. Sourced.

# issue NAME SUBJECT [SAN...]: NAME.crt and NAME.key.
issue() {
  local name=$1 subject=$2 extension=extendedKeyUsage=clientAuth
  shift 2
  [ $# = 0 ] || extension="extendedKeyUsage=serverAuth"$'\n'"subjectAltName=$(IFS=,; echo "$*")"
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$subject" \
    -keyout "$name.key" -out "$name.csr" 2>/dev/null
  openssl x509 -req -in "$name.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 \
    -extfile <(printf '%s\n' "$extension") -out "$name.crt" 2>/dev/null
  rm "$name.csr"
}

# kubeconfig FILE CERTIFICATE
kubeconfig() {
  local file=$1 certificate=$2
  cat >"$file" <<YAML
apiVersion: v1
kind: Config
current-context: ignite-test
contexts: [{name: ignite-test, context: {cluster: ignite-test, user: $certificate}}]
clusters:
- name: ignite-test
  cluster: {server: "https://$NODE_ADDRESS:6443", certificate-authority-data: $(base64 -w0 <ca.crt)}
users:
- name: $certificate
  user:
    client-certificate-data: $(base64 -w0 <"$certificate.crt")
    client-key-data: $(base64 -w0 <"$certificate.key")
YAML
}

make_certificates() (
  local part
  mkdir -p "$STATE/pki" && cd "$STATE/pki"
  umask 077
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj /CN=ignite-test-cluster \
    -keyout ca.key -out ca.crt 2>/dev/null
  openssl genrsa -out service-accounts.key 2048 2>/dev/null
  issue apiserver /CN=kube-apiserver "IP:$NODE_ADDRESS" "IP:$API_SERVICE" IP:127.0.0.1 \
    DNS:kubernetes DNS:kubernetes.default DNS:kubernetes.default.svc DNS:kubernetes.default.svc.cluster.local
  issue kubelet "/CN=system:node:$NODE" "IP:$NODE_ADDRESS" "DNS:$NODE"
  issue apiserver-to-kubelet /O=system:masters/CN=apiserver-to-kubelet
  issue admin /O=system:masters/CN=admin
  issue node "/O=system:nodes/CN=system:node:$NODE"
  for part in controller-manager scheduler proxy; do
    issue "$part" "/CN=system:kube-$part"
    kubeconfig "$STATE/$part.kubeconfig" "$part"
  done
  kubeconfig "$STATE/node.kubeconfig" node
  kubeconfig "$STATE/admin.kubeconfig" admin
)
