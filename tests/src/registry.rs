//! A real container registry: Debian's `docker-registry`, with base images in it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
    time::Duration,
};

use crate::{command, leash::Leash, paths, wait::eventually_blocking};

/// A running registry, on loopback and http unless said otherwise.
#[derive(Debug)]
pub struct Registry {
    address: String,
    folder: PathBuf,
    login: Option<&'static str>,
    _server: Leash,
}

const START_DEADLINE: Duration = Duration::from_secs(30);
const LOOPBACK: &str = "127.0.0.1";
/// The one user that a guarded registry lets in, with the hash that its password file holds.
const LOGIN: &str = "pusher:only-for-tests";
const LOGIN_HASH: &str = "pusher:$2b$04$fetl.wxd3hBg0zW.B4C8juV/afUxfnrh3L1QERhLkmkk6fVlZ8mAu\n";

static SHARED: LazyLock<Registry> = LazyLock::new(|| {
    let registry = Registry::open();
    registry.import_base_images();
    registry
});

// === impl Registry ===

impl Registry {
    /// The one that most tests share: anyone may push, and the base images are there.
    pub fn shared() -> &'static Self {
        &SHARED
    }

    /// An empty one that anyone may push to.
    pub fn open() -> Self {
        Self::open_on(LOOPBACK)
    }

    /// An empty one that anyone may push to, on another address of this machine.
    pub fn open_on(address: &str) -> Self {
        Self::start(address, None, false)
    }

    /// An empty one that refuses whoever does not log in.
    pub fn guarded() -> Self {
        Self::guarded_on(LOOPBACK)
    }

    /// [`Registry::guarded`] on another address of this machine.
    pub fn guarded_on(address: &str) -> Self {
        Self::start(address, Some(LOGIN), false)
    }

    /// An empty one that speaks TLS on this address of the machine, with a certificate that no machine trusts by itself: see
    /// [`Registry::certificate`].
    pub fn over_tls_on(address: &str) -> Self {
        Self::start(address, None, true)
    }

    /// The PEM file with the certificate of one that speaks TLS.
    pub fn certificate(&self) -> PathBuf {
        certificate_in(&self.folder)
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `<address>/library/debian:bookworm`: a bootstrapped Debian.
    pub fn debian(&self) -> String {
        format!("{}/library/debian:bookworm", self.address)
    }

    /// `<address>/library/busybox:latest`: one static binary and a link for each of its commands.
    pub fn busybox(&self) -> String {
        format!("{}/library/busybox:latest", self.address)
    }

    /// The digest that a tag stands for, `sha256:<hex>`, as skopeo sees it.
    pub fn digest(&self, reference: &str) -> String {
        self.inspect(reference)["Digest"].as_str().unwrap().to_owned()
    }

    /// `skopeo inspect` of `<repository>:<tag>` or a full reference of this registry.
    pub fn inspect(&self, reference: &str) -> serde_json::Value {
        let text = command::run(
            self.skopeo("inspect")
                .arg("--tls-verify=false")
                .arg(self.docker(reference)),
        );
        serde_json::from_str(&text).unwrap()
    }

    /// The manifest that a reference stands for, as skopeo passes it on.
    pub fn manifest(&self, reference: &str) -> serde_json::Value {
        let text = command::run(
            self.skopeo("inspect")
                .args(["--raw", "--tls-verify=false"])
                .arg(self.docker(reference)),
        );
        serde_json::from_str(&text).unwrap()
    }

    /// Whether the registry has it.
    pub fn has(&self, reference: &str) -> bool {
        let mut inspect = self.skopeo("inspect");
        inspect.arg("--tls-verify=false").arg(self.docker(reference));
        command::output(&mut inspect).status.success()
    }

    /// Copies an image from an OCI layout (`folder:tag`) to `<repository>:<tag>` here.
    pub fn import(&self, layout: &str, name: &str) {
        command::run(
            self.skopeo("copy")
                .args(["--dest-tls-verify=false", "--quiet"])
                .arg(format!("oci:{layout}"))
                .arg(self.docker(name)),
        );
    }

    /// Copies the base images to where [`Registry::debian`] and [`Registry::busybox`] say.
    pub fn import_base_images(&self) {
        self.import(&paths::made_by_setup("DEBIAN_IMAGE"), "library/debian:bookworm");
        self.import(&paths::made_by_setup("BUSYBOX_IMAGE"), "library/busybox:latest");
    }

    /// Copies an image from here into an OCI layout.
    pub fn export(&self, reference: &str, layout: &Path, tag: &str) {
        command::run(
            self.skopeo("copy")
                .args(["--src-tls-verify=false", "--quiet"])
                .arg(self.docker(reference))
                .arg(format!("oci:{}:{tag}", layout.display())),
        );
    }

    /// What the registry has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap()
    }

    fn skopeo(&self, subcommand: &str) -> Command {
        let mut skopeo = Command::new("skopeo");
        skopeo.arg(subcommand);
        if let Some(login) = self.login {
            let side = if subcommand == "inspect" {
                "--creds"
            } else {
                "--dest-creds"
            };
            skopeo.args([side, login]);
        }
        skopeo
    }

    fn docker(&self, reference: &str) -> String {
        let path = reference
            .strip_prefix(&format!("{}/", self.address))
            .unwrap_or(reference);
        format!("docker://{}/{path}", self.address)
    }

    fn start(on: &str, login: Option<&'static str>, tls: bool) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("ignite-registry-")
            .tempdir()
            .unwrap()
            .keep();
        let tls = if tls {
            make_certificate(on, &folder)
        } else {
            String::new()
        };
        let mut config = format!(
            "version: 0.1\n\
             log: {{level: info, formatter: text, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {0}/storage}}, delete: {{enabled: true}}}}\n\
             http: {{addr: '{on}:0'{tls}}}\n",
            folder.display()
        );
        if login.is_some() {
            fs::write(folder.join("htpasswd"), LOGIN_HASH).unwrap();
            config.push_str(&format!(
                "auth: {{htpasswd: {{realm: ignite, path: {}/htpasswd}}}}\n",
                folder.display()
            ));
        }
        let (config_file, log) = (folder.join("config.yml"), folder.join("log"));
        fs::write(&config_file, config).unwrap();
        let server = Leash::start(
            &folder,
            &log,
            &[
                "docker-registry".as_ref(),
                "serve".as_ref(),
                config_file.as_os_str(),
            ],
        );
        let address = eventually_blocking("the registry to listen", START_DEADLINE, || {
            let text = fs::read_to_string(&log).unwrap();
            let (_, rest) = text.split_once("listening on ")?;
            Some(rest.split([' ', '"', ',']).next()?.to_owned())
        });
        Self {
            address,
            folder,
            login,
            _server: server,
        }
    }
}

fn certificate_in(folder: &Path) -> PathBuf {
    folder.join("cert.pem")
}

/// Makes certificate and key; returns what the registry's configuration says of them.
fn make_certificate(host: &str, folder: &Path) -> String {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
    let (certificate, key) = (certificate_in(folder), folder.join("key.pem"));
    fs::write(&certificate, cert.pem()).unwrap();
    fs::write(&key, signing_key.serialize_pem()).unwrap();
    format!(
        ", tls: {{certificate: {}, key: {}}}",
        certificate.display(),
        key.display()
    )
}
