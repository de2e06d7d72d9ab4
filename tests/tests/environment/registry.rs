//! The registry and the tools that read images back.

use std::{fs, process::Command};

use ignite_tests::{command, image::Image, paths, registry::Registry};

#[test]
fn the_debian_image_runs() {
    let registry = Registry::shared();
    let image = Image::pull(registry, &registry.debian());
    assert!(
        image
            .run_command(&["cat", "/etc/os-release"])
            .contains("bookworm")
    );
    assert!(
        image
            .run_command(&["dpkg", "-s", "apt"])
            .contains("Status: install ok installed")
    );
    assert_eq!(image.size().0, 1);
}

#[test]
fn the_busybox_image_runs() {
    let registry = Registry::shared();
    let image = Image::pull(registry, &registry.busybox());
    assert_eq!(image.run_command(&["sh", "-c", "echo $((6 * 7))"]), "42");
    assert_eq!(
        fs::read_link(image.path("/bin/ls")).unwrap().to_str(),
        Some("busybox")
    );
    assert_eq!(image.config()["Cmd"][0], "sh");
    assert!(registry.digest("library/busybox").starts_with("sha256:"));
}

#[test]
fn a_failing_command_keeps_its_exit_code() {
    let registry = Registry::shared();
    let image = Image::pull(registry, &registry.busybox());
    let output = image.run_as(Some(&["sh", "-c", "exit 7"]));
    assert_eq!(output.status.code(), Some(7));
}

#[test]
fn a_guarded_registry_refuses_who_does_not_log_in() {
    let registry = Registry::guarded();
    let layout = paths::made_by_setup("BUSYBOX_IMAGE");
    let stranger = command::output(
        Command::new("skopeo")
            .args(["copy", "--dest-tls-verify=false"])
            .arg(format!("oci:{layout}"))
            .arg(format!("docker://{}/library/busybox:latest", registry.address())),
    );
    assert!(!stranger.status.success());
    assert!(!registry.has("library/busybox"));
    registry.import(&layout, "library/busybox");
    assert!(registry.has("library/busybox"));
}

#[test]
fn a_registry_ends_with_its_test() {
    let registry = Registry::open();
    let address = registry.address().to_owned();
    assert!(std::net::TcpStream::connect(&address).is_ok());
    drop(registry);
    assert!(std::net::TcpStream::connect(&address).is_err());
}
