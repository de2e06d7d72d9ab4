//! The compiling child, for the tests and benches of this crate.

fn main() -> std::process::ExitCode {
    ignite_plugins::runtime::compile_child()
}
