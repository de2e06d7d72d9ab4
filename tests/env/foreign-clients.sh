# Clients that share no code with the gateway: grpcurl, and Python with stubs generated from the contract.
# Sourced by setup.sh.

build_grpcurl() {
  local out=$1
  (cd "$REPO/tests/env/grpcurl" &&
    CGO_ENABLED=0 GOFLAGS=-mod=readonly retry nice go build -trimpath -ldflags='-s -w' \
      -o "$out/grpcurl" github.com/fullstorydev/grpcurl/cmd/grpcurl)
}

# Only ever run as `bin/python`, which finds its packages by where it stands: so it may be moved into place.
make_venv() {
  python3 -m venv "$1/venv"
  retry "$1/venv/bin/python" -m pip install --quiet --no-input -r python/requirements.txt >&2
}

grpcurl_key=$(key "$(cat grpcurl/go.mod grpcurl/go.sum)" "$(go env GOVERSION)" "$(uname -m)")
python_key=$(key "$(cat python/requirements.txt)" "$(python3 -VV)" "$(uname -m)")
once "$CACHE/grpcurl/$grpcurl_key" build_grpcurl
once "$CACHE/python/$python_key" make_venv
record GRPCURL "$CACHE/grpcurl/$grpcurl_key/grpcurl"
record PYTHON "$CACHE/python/$python_key/venv/bin/python"
