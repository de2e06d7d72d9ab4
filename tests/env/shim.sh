# The shim as it goes into pods: static, for images without libraries. Sourced by setup.sh.
#
# By the compiler itself: it is one file without dependencies, and `cargo build --workspace` is not to need the target.

shim_target=$(uname -m)-unknown-linux-musl

build_shim() {
  [ -d "$(rustc --print target-libdir --target "$shim_target")" ] || retry rustup target add "$shim_target" >&2
  rustc --edition 2024 --target "$shim_target" -C opt-level=s -C panic=abort -C strip=symbols \
    -o "$1/ignite-shim" "$REPO/host/shim/src/main.rs"
}

shim_folder=$CACHE/shim/$(key "$(cat "$REPO/host/shim/src/main.rs" shim.sh)" "$(rustc --version)" "$(uname -m)")
once "$shim_folder" build_shim
record SHIM "$shim_folder/ignite-shim"
