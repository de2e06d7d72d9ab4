# The plugins of plugins/ as components: the samples, and the hostile ones for the runtime's tests. Sourced by setup.sh.
#
# Each thing is made once for its sources, the contract and the tools' versions. The folder of this work tree holds links.

COMPONENTIZE_PY=0.25.1
plugins=$REPO/plugins
wit=$REPO/wit

# content PATH...: what tracked or new files say, and what they are called.
content() {
  (cd "$REPO" && git ls-files -z --cached --others --exclude-standard -- "$@" |
    grep -zv '/tests/' | sort -z | xargs -0 sha256sum)
}

# === Rust ===

# One folder for all: they share their dependencies, and cargo knows best what has to be made anew.
build_rust_plugins() {
  local out=$1 target=$CACHE/plugins-target crate example
  # From the folder, so that its own cargo settings apply and no other.
  (cd "$plugins" && retry cargo fetch --quiet --locked &&
    CARGO_TARGET_DIR=$target nice cargo build --quiet --locked --release --target wasm32-wasip2 \
      --workspace --exclude forge --lib --examples) >&2
  mkdir "$out/hostile"
  for crate in "$plugins"/*/Cargo.toml "$plugins"/_hostile/*/Cargo.toml; do
    crate=$(basename "$(dirname "$crate")")
    case $crate in
      # A library, a program, and one that is made of examples.
      sdk | forge | odd) ;;
      puppet | trivial) cp "$target/wasm32-wasip2/release/$crate.wasm" "$out/hostile/" ;;
      *) cp "$target/wasm32-wasip2/release/${crate//-/_}.wasm" "$out/$crate.wasm" ;;
    esac
  done
  for example in "$plugins"/_hostile/odd/examples/*.rs; do
    example=$(basename "$example" .rs)
    cp "$target/wasm32-wasip2/release/examples/${example//-/_}.wasm" "$out/hostile/$example.wasm"
  done
  (cd "$plugins" && CARGO_TARGET_DIR=$target nice cargo run --quiet --locked -p forge -- \
    "$out/hostile/trivial.wasm" "$out/hostile") >&2
}

# === JavaScript ===

install_js_tools() {
  cp "$plugins"/js-tools/{package.json,package-lock.json,build.js} "$1/"
  (cd "$1" && retry nice npm ci --silent --no-audit --no-fund --prefer-offline) >&2
}

# The plugin's name is in $js_plugin.
build_js_plugin() {
  (cd "$js_tools" && nice node build.js "$plugins/$js_plugin/src/plugin.js" "$wit" validator "$1/$js_plugin.wasm") >&2
}

# === Python ===

install_python_tools() {
  python3 -m venv "$1/venv"
  retry "$1/venv/bin/python" -m pip install --quiet --no-input "componentize-py==$COMPONENTIZE_PY" >&2
}

# The plugin's name is in $python_plugin. Not its unit tests: everything beside it would go into the component.
build_python_plugin() {
  local source=$1/source
  mkdir "$source"
  (cd "$plugins/$python_plugin" && cp plugin.py window.py "$source/")
  # Not by the script in its bin: that one names the place where the venv was made.
  nice "$python_tools/venv/bin/python" -c 'from componentize_py import script; script()' -q -d "$wit" -w validator componentize --stub-wasi \
    -p "$source" -o "$1/$python_plugin.wasm" plugin >&2
  rm -r "$source"
}

# === All of them ===

if ! command -v npm >/dev/null; then
  missing=(nodejs npm)
  say "installing ${missing[*]}"
  install_packages >&2
fi
rustup target list --installed 2>/dev/null | grep -qx wasm32-wasip2 || retry rustup target add wasm32-wasip2 >&2

script=$(cat plugins.sh)
rust_folder=$CACHE/plugins-rust/$(key "$script" "$(content plugins/Cargo.toml plugins/Cargo.lock 'plugins/*.rs' \
  'plugins/*/Cargo.toml' plugins/_hostile wit)" "$(rustc -vV)")
once "$rust_folder" build_rust_plugins

js_tools=$CACHE/js-tools/$(key "$(content plugins/js-tools)" "$(node --version)" "$(uname -m)")
once "$js_tools" install_js_tools
js_plugin=naming-js
js_folder=$CACHE/plugins-js/$(key "$script" "$(content "plugins/$js_plugin/src" wit)" "$js_tools")
once "$js_folder" build_js_plugin

python_tools=$CACHE/componentize-py/$(key "$COMPONENTIZE_PY" "$(python3 -VV)" "$(uname -m)")
once "$python_tools" install_python_tools
python_plugin=freeze-window-py
python_folder=$CACHE/plugins-py/$(key "$script" "$(content "plugins/$python_plugin" wit)" "$python_tools")
once "$python_folder" build_python_plugin

rm -rf "$REPO/.cache/plugins" && mkdir -p "$REPO/.cache/plugins/hostile"
ln -s "$rust_folder"/*.wasm "$js_folder"/*.wasm "$python_folder"/*.wasm "$REPO/.cache/plugins/"
ln -s "$rust_folder"/hostile/*.wasm "$REPO/.cache/plugins/hostile/"
record PLUGINS "$REPO/.cache/plugins"
