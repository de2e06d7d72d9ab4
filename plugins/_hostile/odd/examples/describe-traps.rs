//! Traps when it is asked to describe itself.

odd::validator! {
    describe: match std::hint::black_box(true) {
        true => core::arch::wasm32::unreachable(),
        false => ("describe-traps", "0.1.0"),
    },
    validate: Vec::new()
}
