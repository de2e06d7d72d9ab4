//! Reads a file, so it imports `wasi:filesystem`.

odd::validator! {
    describe: ("imports-files", "0.1.0"),
    validate: vec![std::fs::read_to_string("/etc/passwd").unwrap_or_else(|e| e.to_string())]
}
