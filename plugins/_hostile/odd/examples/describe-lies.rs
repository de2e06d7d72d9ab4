//! Has a name that is a path, and a version that is none.

odd::validator! {
    describe: ("../Describe lies", "latest"),
    validate: Vec::new()
}
