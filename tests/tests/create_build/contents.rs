//! What stands in a context arrives in the image as it is, and what is ignored does not.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
};

use ignite_tests::{at_each_site, caller::inline, context::Context, image::Image, site::Site};

at_each_site! {
    links_modes_and_names_survive,
    what_dockerignore_names_stays_out,
    a_step_sees_neither_the_machine_nor_the_gateway,
}

async fn links_modes_and_names_survive(site: Site<'_>) {
    let gateway = site.gateway().start();
    let registry = site.registry();
    let context = Context::new("FROM scratch\nCOPY tree /tree\n")
        .folder("tree", 0o755)
        .file_with_mode("tree/private", "p", 0o600)
        .file_with_mode("tree/script", "#!/bin/sh\n", 0o755)
        .file("tree/empty", "")
        .file("tree/größe ✓ 名前", "named")
        .file("tree/ leading and trailing ", "spaces")
        .folder("tree/hollow", 0o711)
        .symlink("tree/link", "private")
        .symlink("tree/dangling", "nowhere/at/all")
        .symlink("tree/absolute", "/etc/passwd")
        .hard_link("tree/twin", "tree/private");
    let build = gateway.caller().succeed(inline("entries", &context)).await;
    let image = Image::pull(registry, &build.image_refs[0]);

    let mode = |path: &str| fs::metadata(image.path(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("tree/private"), 0o600);
    assert_eq!(mode("tree/script"), 0o755);
    assert_eq!(mode("tree/hollow"), 0o711);
    for (path, content) in [
        ("tree/empty", ""),
        ("tree/größe ✓ 名前", "named"),
        ("tree/ leading and trailing ", "spaces"),
        ("tree/twin", "p"),
    ] {
        assert_eq!(fs::read_to_string(image.path(path)).unwrap(), content, "{path}");
    }
    for (path, target) in [
        ("tree/link", "private"),
        ("tree/dangling", "nowhere/at/all"),
        ("tree/absolute", "/etc/passwd"),
    ] {
        assert_eq!(fs::read_link(image.path(path)).unwrap().to_str(), Some(target));
    }
    // Root's in the image, whoever built it on this machine.
    assert_eq!(fs::metadata(image.path("tree/script")).unwrap().uid(), 0);
}

async fn what_dockerignore_names_stays_out(site: Site<'_>) {
    let gateway = site.gateway().start();
    let registry = site.registry();
    let context = Context::new("FROM scratch\nCOPY . /context/\n")
        .file(
            ".dockerignore",
            "# not for the image\n*.log\n**/*.tmp\nsecret\n/only-root\n!keep.log\nnode_modules/**\n!node_modules/kept\n",
        )
        .file("a.log", "")
        .file("keep.log", "")
        .file("deep/b.log", "")
        .file("deep/c.tmp", "")
        .file("secret/key", "")
        .file("only-root", "")
        .file("deep/only-root", "")
        .file("node_modules/gone", "")
        .file("node_modules/kept", "");
    let build = gateway.caller().succeed(inline("ignored", &context)).await;
    let image = Image::pull(registry, &build.image_refs[0]);
    for there in ["keep.log", "deep/b.log", "deep/only-root", "node_modules/kept"] {
        assert!(
            image.path(&format!("context/{there}")).exists(),
            "{there} is missing"
        );
    }
    for gone in ["a.log", "deep/c.tmp", "secret", "only-root", "node_modules/gone"] {
        assert!(
            !image.path(&format!("context/{gone}")).exists(),
            "{gone} came along"
        );
    }
}

/// A build's steps must not be able to change what the machine has.
async fn a_step_sees_neither_the_machine_nor_the_gateway(site: Site<'_>) {
    let gateway = site.gateway().start();
    let registry = site.registry();
    let marker = tempfile::NamedTempFile::new().unwrap();
    let context = Context::new(&format!(
        "FROM {}\n\
         RUN test ! -e {} && test ! -e {} && ! ps -o args | grep -v grep | grep ignited\n\
         RUN ! mknod /dev/disk b 254 0 2>/dev/null || ! dd if=/dev/disk of=/dev/null count=1 2>/dev/null\n\
         RUN ! mount -t tmpfs none /mnt 2>/dev/null && ! echo 1 > /proc/sys/kernel/sysrq 2>/dev/null\n\
         RUN ! env | grep -i -e ignited -e token\n",
        registry.busybox(),
        marker.path().display(),
        gateway.data_dir().display(),
    ));
    gateway.caller().succeed(inline("walled", &context)).await;
}
