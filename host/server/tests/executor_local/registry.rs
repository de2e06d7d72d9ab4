//! A registry of one test's own.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use flate2::read::GzDecoder;
use tempfile::TempDir;
use walkdir::WalkDir;

pub(crate) struct Registry {
    child: Child,
    port: u16,
    dir: TempDir,
}

/// The one that a guarded registry lets in.
pub(crate) const LOGIN: (&str, &str) = ("pusher", "only-for-tests");
const LOGIN_HASH: &str = "pusher:$2b$04$fetl.wxd3hBg0zW.B4C8juV/afUxfnrh3L1QERhLkmkk6fVlZ8mAu\n";

impl Registry {
    /// One that anyone may use.
    pub(crate) fn start() -> Self {
        Self::with_auth(|_| String::new())
    }

    /// One that wants [`LOGIN`].
    pub(crate) fn guarded() -> Self {
        Self::with_auth(|dir| {
            let file = dir.join("htpasswd");
            fs::write(&file, LOGIN_HASH).unwrap();
            format!("auth: {{htpasswd: {{realm: r, path: {}}}}}\n", file.display())
        })
    }

    /// `auth` says what of it stands in the configuration.
    pub(crate) fn with_auth(auth: impl FnOnce(&Path) -> String) -> Self {
        let dir = TempDir::new().unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let config = dir.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"127.0.0.1:{port}\"}}\n{}",
            dir.path().join("storage").display(),
            auth(dir.path())
        );
        fs::write(&config, text).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry from its Debian package");
        let registry = Self { child, port, dir };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "the registry does not start"
            );
            #[expect(
                clippy::disallowed_methods,
                reason = "a test's own thread, before any task runs"
            )]
            std::thread::sleep(Duration::from_millis(10));
        }
        registry
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Whether the bytes are in anything it stores, layers unpacked.
    pub(crate) fn stores(&self, bytes: &[u8]) -> bool {
        let holds = |text: &[u8]| text.windows(bytes.len()).any(|window| window == bytes);
        let files = WalkDir::new(self.dir.path().join("storage"))
            .into_iter()
            .flatten();
        files.filter(|entry| entry.file_type().is_file()).any(|entry| {
            let raw = fs::read(entry.path()).unwrap();
            let mut unpacked = Vec::new();
            let _what_could_be_unpacked = GzDecoder::new(raw.as_slice()).read_to_end(&mut unpacked);
            holds(&raw) || holds(&unpacked) || holds(entry.path().as_os_str().as_encoded_bytes())
        })
    }

    /// The digest of a tag, if it is there.
    pub(crate) fn digest(&self, repository: &str, tag: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let accept = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json";
        write!(
            stream,
            "HEAD /v2/{repository}/manifests/{tag} HTTP/1.1\r\nHost: r\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
            .lines()
            .find_map(|line| line.strip_prefix("Docker-Content-Digest: "))
            .map(|digest| digest.trim().to_owned())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}
