//! Archives that try to reach out of the context are refused at once, with the entry's name, and leave nothing behind.

use ignite_proto::v1::create_build_request::Source;
use ignite_tests::{
    caller::{request, violated_fields},
    context::Context,
    gateway::Gateway,
};

#[tokio::test(flavor = "multi_thread")]
async fn hostile_entries_are_refused_by_name() {
    let gateway = Gateway::start();
    let caller = gateway.caller();
    let outside = gateway.data_dir().parent().unwrap().join("planted");
    let absolute = outside.display().to_string();
    let base = || Context::new("FROM scratch\nCOPY . /\n");
    let cases = [
        (
            "dots",
            base().file("a/../../../planted", "x"),
            "a/../../../planted",
        ),
        ("absolute", base().file(&absolute, "x"), "planted"),
        (
            "through",
            base().symlink("way", "../../..").file("way/planted", "x"),
            "way/planted",
        ),
        ("hard", base().hard_link("out", "/etc/passwd"), "out"),
        (
            "hard-dots",
            base().hard_link("out", "../../../../etc/passwd"),
            "out",
        ),
        (
            "twice",
            base()
                .file("same", "1")
                .symlink("same", "/etc")
                .file("same/x", "2"),
            "same",
        ),
    ];
    for (case, context, entry) in cases {
        let source = Source::ZippedCode(context.tar_gz().into());
        let refused = caller.try_create(request("hostile", source)).await.unwrap_err();
        assert_eq!(violated_fields(&refused), ["zipped_code"], "{case}");
        assert!(refused.message().contains(entry), "{case}: {}", refused.message());
    }
    assert!(!outside.exists());
}
