# The checks of `make lint` that are not part of rust itself. Sourced by setup.sh.

CARGO_DENY=0.20.2
CARGO_MACHETE=0.9.2

# Unoptimized: they run for a second or two, and compile in a third of the time. From the cache's folder, so that this
# repository's cargo settings do not apply.
install_crate() {
  local crate=$1 version=$2 out=$3
  (cd "$out" && CARGO_PROFILE_DEV_DEBUG=0 CARGO_TARGET_DIR=$out/target retry nice cargo install --locked --quiet \
    --debug --root "$out" "$crate" --version "=$version")
  rm -rf "$out/target"
}
install_deny() { install_crate cargo-deny "$CARGO_DENY" "$1"; }
install_machete() { install_crate cargo-machete "$CARGO_MACHETE" "$1"; }

for component in clippy rustfmt; do
  cargo "${component/rustfmt/fmt}" --version >/dev/null 2>&1 || retry rustup component add "$component" >&2
done

deny_folder=$CACHE/cargo-deny/$(key "$CARGO_DENY" "$(uname -m)")
machete_folder=$CACHE/cargo-machete/$(key "$CARGO_MACHETE" "$(uname -m)")
once "$deny_folder" install_deny
once "$machete_folder" install_machete
record CARGO_DENY "$deny_folder/bin/cargo-deny"
record CARGO_MACHETE "$machete_folder/bin/cargo-machete"
