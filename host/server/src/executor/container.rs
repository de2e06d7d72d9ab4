//! What Kaniko finds around it, the same in every executor's container.

/// In Kaniko's images, and where the local sandbox puts it.
pub(super) const EXECUTOR: &str = "/kaniko/executor";
/// The source. Below Kaniko's own directory, which it leaves out of images: a mount elsewhere would hide what a Dockerfile puts
/// there.
pub(crate) const WORKSPACE: &str = "/kaniko/context";
pub(crate) const DIGEST_FILE: &str = "/kaniko/digest";
/// Kaniko trusts what is in any file of it.
pub(super) const CA_DIR: &str = "/kaniko/ssl/certs";

/// Beside [`ignite_core::kaniko::ENVIRONMENT`].
pub(super) const ENVIRONMENT: [(&str, &str); 3] = [
    (
        "PATH",
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/kaniko",
    ),
    ("DOCKER_CONFIG", "/kaniko/.docker/"),
    ("SSL_CERT_DIR", CA_DIR),
];

/// What Kaniko needs to unpack images and to run steps as any user of them, and no more. Without the kernel's `CAP_`.
pub(super) const CAPABILITIES: [&str; 11] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
