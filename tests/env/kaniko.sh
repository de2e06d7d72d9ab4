# The Kaniko executor, from the module pinned in deploy/kaniko. Sourced by setup.sh.

build_kaniko() {
  local out=$1
  # -mod=readonly: what go.sum does not name is not built.
  (cd "$REPO/deploy/kaniko" &&
    CGO_ENABLED=0 GOFLAGS=-mod=readonly retry nice go build -trimpath -ldflags='-s -w' \
      -o "$out/kaniko-executor" github.com/osscontainertools/kaniko/cmd/executor)
}

kaniko_key=$(key "$(cat "$REPO/deploy/kaniko/go.mod" "$REPO/deploy/kaniko/go.sum")" "$(go env GOVERSION)" "$(uname -m)")
once "$CACHE/kaniko/$kaniko_key" build_kaniko
record KANIKO "$CACHE/kaniko/$kaniko_key/kaniko-executor"
