# The shim as it goes into pods: static, for images without libraries. Sourced by setup.sh.
#
# In a target folder of its own: `cargo build --workspace` is not to need the target.
shim_target=$(uname -m)-unknown-linux-musl

build_shim() {
  [ -d "$(rustc --print target-libdir --target "$shim_target")" ] || retry rustup target add "$shim_target" >&2
  (
    cd "$REPO"
    export CARGO_PROFILE_RELEASE_OPT_LEVEL=s CARGO_PROFILE_RELEASE_PANIC=abort CARGO_PROFILE_RELEASE_STRIP=symbols
    export CARGO_TARGET_DIR=$1/target CARGO_INCREMENTAL=0
    retry cargo build --quiet --locked --release --package ignite-shim --target "$shim_target" >&2
  )
  mv "$1/target/$shim_target/release/ignite-shim" "$1/"
  rm -rf "$1/target"
}

shim_folder=$CACHE/shim/$(key "$(cat "$REPO"/host/shim/Cargo.toml "$REPO"/host/shim/src/*.rs "$REPO/Cargo.lock" shim.sh)" "$(rustc --version)" "$(uname -m)")
once "$shim_folder" build_shim
record SHIM "$shim_folder/ignite-shim"
