//! Against OpenSSH's own server, one process for each connection.

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::{fd::OwnedFd, unix::fs::PermissionsExt as _},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
};

use ignite_core::{run::FetchFailure, secrets::GitSshLogin};

use super::*;

/// A server, its host key, and a key that it lets in.
struct Sshd {
    port: u16,
    dir: TempDir,
    connections: Arc<AtomicU32>,
    stopping: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

// === impl Sshd ===

impl Sshd {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["host", "known", "stranger"] {
            keygen(&dir.path().join(name), "");
        }
        keygen(&dir.path().join("locked"), "passphrase");
        // Where it goes before it knows who is there; Debian's service makes it.
        fs::create_dir_all("/run/sshd").unwrap();
        fs::set_permissions("/run/sshd", fs::Permissions::from_mode(0o755)).unwrap();
        let shown = dir.path().display();
        let config = format!(
            "HostKey {shown}/host\nAuthorizedKeysFile {shown}/known.pub\nStrictModes no\nUsePAM no\n\
             PermitRootLogin prohibit-password\nPasswordAuthentication no\nAcceptEnv GIT_PROTOCOL\nPidFile none\n\
             ForceCommand git-shell -c \"$SSH_ORIGINAL_COMMAND\"\n"
        );
        fs::write(dir.path().join("config"), config).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stopping, connections) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (stop, count, config) = (
            Arc::clone(&stopping),
            Arc::clone(&connections),
            dir.path().join("config"),
        );
        let accepting = thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                count.fetch_add(1, Ordering::SeqCst);
                let stream = OwnedFd::from(stream.unwrap());
                let mut child = Command::new("/usr/sbin/sshd")
                    .args(["-i", "-e", "-f"])
                    .arg(&config)
                    .stdin(stream.try_clone().unwrap())
                    .stdout(stream)
                    .stderr(Stdio::null())
                    .spawn()
                    .expect("sshd from Debian's openssh-server");
                thread::spawn(move || child.wait());
            }
        });
        Self {
            port,
            dir,
            connections,
            stopping,
            accepting: Some(accepting),
        }
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).unwrap()
    }

    /// `name` of a key, and whether its owner knows the server.
    fn login(&self, name: &str, host: &str) -> GitLogin {
        GitLogin {
            hosts: Vec::new(),
            https: None,
            ssh: Some(GitSshLogin {
                private_key: SecretText::new(self.read(name)),
                known_hosts: format!("[{host}]:{} {}", self.port, self.read("host.pub")),
            }),
        }
    }

    fn source(&self, host: &str, path: &Path) -> GitSource {
        GitSource {
            url: format!("ssh://root@{host}:{}{}", self.port, path.display()),
            reference: "main".to_owned(),
            context_dir: String::new(),
        }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn keygen(path: &Path, passphrase: &str) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", passphrase, "-C", "tester", "-f"])
        .arg(path)
        .status();
    assert!(made.unwrap().success());
}

/// The repository, readable for `upload-pack` whoever made it.
fn app(upstream: &Upstream) -> PathBuf {
    let app = upstream.repository("app");
    commit(&app, &[("file", "x")]);
    app
}

#[track_caller]
fn refused(outcome: &Outcome, says: &str) {
    let error = outcome.error();
    assert_eq!(error.failure, FetchFailure::Auth, "{error}");
    assert!(error.message.contains(says), "{error}");
}

#[test]
fn a_private_repository_is_fetched_with_the_key() {
    let (upstream, sshd) = (Upstream::new(), Sshd::start());
    let app = app(&upstream);
    for host in ["127.0.0.1", "localhost"] {
        let outcome = upstream.clone_as(&sshd.login("known", host), &sshd.source(host, &app));
        assert_eq!(outcome.commit().len(), 40);
        assert_eq!(outcome.files, ["file"]);
    }
    // As a form on a web page sends it.
    let mut login = sshd.login("known", "127.0.0.1");
    if let Some(ssh) = &mut login.ssh {
        ssh.private_key = SecretText::new(ssh.private_key.reveal().trim_end().replace('\n', "\r\n"));
    }
    let outcome = upstream.clone_as(&login, &sshd.source("127.0.0.1", &app));
    assert_eq!(outcome.files, ["file"]);
    let missing = upstream.clone_as(&login, &sshd.source("127.0.0.1", &app.join("nothing")));
    assert!(
        missing.error().message.contains("no such repository"),
        "{}",
        missing.error()
    );
}

#[test]
fn keys_that_do_not_fit_say_what_is_wrong() {
    let (upstream, sshd) = (Upstream::new(), Sshd::start());
    let app = app(&upstream);
    let source = sshd.source("127.0.0.1", &app);
    let clone = |login: &GitLogin| upstream.clone_as(login, &source);
    refused(
        &clone(&sshd.login("stranger", "127.0.0.1")),
        "refused the stored ssh key",
    );
    refused(&clone(&sshd.login("locked", "127.0.0.1")), "has a passphrase");
    let pem = format!("-----BEGIN RSA PRIVATE KEY-----\n{}\n", "Proc-Type: 4,ENCRYPTED");
    let mut broken = sshd.login("known", "127.0.0.1");
    for (key, says) in [
        ("not a key".to_owned(), "cannot be read"),
        (pem, "has a passphrase"),
    ] {
        if let Some(ssh) = &mut broken.ssh {
            ssh.private_key = SecretText::new(key);
        }
        refused(&clone(&broken), says);
    }
    refused(&clone(&password(&[])), "no ssh key is stored");
}

#[test]
fn a_server_that_is_not_known_is_not_spoken_to() {
    let (upstream, sshd) = (Upstream::new(), Sshd::start());
    let app = app(&upstream);
    let source = sshd.source("127.0.0.1", &app);
    let known_as = |known_hosts: String| {
        let mut login = sshd.login("known", "127.0.0.1");
        if let Some(ssh) = &mut login.ssh {
            ssh.known_hosts = known_hosts;
        }
        upstream.clone_as(&login, &source)
    };
    let here = format!("[127.0.0.1]:{}", sshd.port);
    refused(&known_as(String::new()), "known_hosts");
    refused(
        &known_as(format!("{here} {}", sshd.read("stranger.pub"))),
        "known_hosts",
    );
    refused(
        &known_as(format!("other.example.com {}", sshd.read("host.pub"))),
        "known_hosts",
    );
}

#[test]
fn a_key_is_for_its_hosts_only() {
    let (upstream, sshd) = (Upstream::new(), Sshd::start());
    let app = app(&upstream);
    let source = sshd.source("127.0.0.1", &app);
    let mut login = sshd.login("known", "127.0.0.1");
    login.hosts = vec!["git.example.com".to_owned()];
    refused(&upstream.clone_as(&login, &source), "is for other hosts");
    assert_eq!(sshd.connections.load(Ordering::SeqCst), 0);
    login.hosts.push(format!("127.0.0.1:{}", sshd.port));
    assert_eq!(upstream.clone_as(&login, &source).files, ["file"]);
}

#[test]
fn addresses_are_refused_and_pinned_as_for_https() {
    let (upstream, sshd) = (Upstream::new(), Sshd::start());
    let app = app(&upstream);
    let source = sshd.source("git.invalid", &app);
    let login = sshd.login("known", "git.invalid");
    let loopback = |_: &str, _: u16| Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    let closed = GitRules::default();
    let outcome = upstream.clone_by(&loopback, &closed, &source, Some(&login));
    assert!(
        outcome.error().message.contains("not public"),
        "{}",
        outcome.error()
    );
    assert_eq!(sshd.connections.load(Ordering::SeqCst), 0);
    // The name leads nowhere: only the address that was checked can be meant.
    let outcome = upstream.clone_by(&loopback, &open_rules(), &source, Some(&login));
    assert_eq!(outcome.files, ["file"]);
}

#[test]
fn a_submodule_on_another_server_does_not_see_the_key() {
    let (upstream, near, far) = (Upstream::new(), Sshd::start(), Sshd::start());
    let part = upstream.repository("part");
    let link = commit(&part, &[("part", "x")]);
    for (server, is_near) in [(&near, true), (&far, false)] {
        let whole = upstream.repository(if is_near { "with-near" } else { "with-far" });
        let url = server.source("127.0.0.1", &part).url;
        commit(
            &whole,
            &[("file", "x"), (".gitmodules", &gitmodules("sub", &url))],
        );
        add_link(&whole, "sub", &link);
        let outcome = upstream.clone_as(
            &near.login("known", "127.0.0.1"),
            &near.source("127.0.0.1", &whole),
        );
        match is_near {
            true => assert_eq!(outcome.files, [".gitmodules", "file", "sub/part"]),
            false => refused(&outcome, "is for other hosts"),
        }
    }
    assert_eq!(far.connections.load(Ordering::SeqCst), 0);
}
