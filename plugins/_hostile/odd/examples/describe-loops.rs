//! Never gets done describing itself.

odd::validator! {
    describe: {
        while std::hint::black_box(true) {}
        ("describe-loops", "0.1.0")
    },
    validate: Vec::new()
}
