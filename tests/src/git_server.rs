//! A real git server: `git http-backend` behind lighttpd, with repositories made by the git command line.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{command, context::Context, leash::Leash, wait::eventually_blocking};

/// A running git server, http on loopback.
#[derive(Debug)]
pub struct GitServer {
    address: String,
    folder: PathBuf,
    _server: Leash,
}

/// A repository to commit to; what was pushed is what the server serves.
#[derive(Debug)]
pub struct Repository {
    url: String,
    work_tree: PathBuf,
}

const START_DEADLINE: Duration = Duration::from_secs(20);
/// The one login that opens what lies under `private/`.
pub const LOGIN: (&str, &str) = ("reader", "only-for-tests");

// === impl GitServer ===

impl GitServer {
    pub fn start() -> Self {
        Self::start_on("127.0.0.1")
    }

    /// On this address of the machine, for those who do not share its loopback.
    pub fn start_on(host: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("ignite-git-")
            .tempdir()
            .unwrap()
            .keep();
        fs::create_dir(folder.join("srv")).unwrap();
        fs::create_dir(folder.join("work")).unwrap();
        fs::write(folder.join("users"), format!("{}:{}\n", LOGIN.0, LOGIN.1)).unwrap();
        let port = free_port(host);
        let config = folder.join("lighttpd.conf");
        fs::write(&config, configuration(&folder, host, port)).unwrap();
        let server = Leash::start(
            &folder,
            &folder.join("log"),
            &[
                "lighttpd".as_ref(),
                "-D".as_ref(),
                "-f".as_ref(),
                config.as_os_str(),
            ],
        );
        let address = format!("{host}:{port}");
        eventually_blocking("the git server to listen", START_DEADLINE, || {
            TcpStream::connect(&address).ok()
        });
        Self {
            address,
            folder,
            _server: server,
        }
    }

    /// Makes an empty repository with the default branch `main`. Under `private/` it asks for [`LOGIN`].
    pub fn repository(&self, name: &str) -> Repository {
        let bare = self.folder.join("srv").join(name);
        let work_tree = self.folder.join("work").join(name);
        fs::create_dir_all(&work_tree).unwrap();
        command::run(
            git(&self.folder)
                .args(["init", "--quiet", "--bare", "--initial-branch=main"])
                .arg(&bare),
        );
        command::run(git(&work_tree).args(["init", "--quiet", "--initial-branch=main"]));
        command::run(git(&work_tree).args(["remote", "add", "origin"]).arg(&bare));
        Repository {
            url: format!("http://{}/{name}", self.address),
            work_tree,
        }
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }
}

// === impl Repository ===

impl Repository {
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Adds files, commits and pushes to the branch that is checked out; returns the commit's id.
    pub fn commit(&self, files: &Context) -> String {
        files.write_to(&self.work_tree);
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", "Change"]);
        self.git(&["push", "--quiet", "origin", "HEAD"]);
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// Goes to a new branch.
    pub fn branch(&self, name: &str) {
        self.git(&["checkout", "--quiet", "-b", name]);
    }

    /// Makes and pushes an annotated tag of the current commit.
    pub fn tag(&self, name: &str) {
        self.git(&["tag", "--annotate", "--message", "Release", name]);
        self.git(&["push", "--quiet", "origin", name]);
    }

    /// Adds another repository as a submodule, by the url that `.gitmodules` is to hold; not yet committed.
    pub fn submodule(&self, url: &str, path: &str) {
        self.git(&["submodule", "--quiet", "add", url, path]);
    }

    pub fn work_tree(&self) -> &Path {
        &self.work_tree
    }

    fn git(&self, arguments: &[&str]) -> String {
        command::run(git(&self.work_tree).args(arguments))
    }
}

/// git without this machine's settings.
pub fn git(folder: &Path) -> Command {
    let mut git = Command::new("git");
    git.current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .args(["-c", "user.name=Tester", "-c", "user.email=tester@example.org"]);
    git
}

/// lighttpd takes no port 0: one that was free a moment ago.
fn free_port(host: &str) -> u16 {
    TcpListener::bind((host, 0)).unwrap().local_addr().unwrap().port()
}

fn configuration(folder: &Path, host: &str, port: u16) -> String {
    let folder = folder.display();
    format!(
        r#"server.modules = ("mod_setenv", "mod_auth", "mod_authn_file", "mod_alias", "mod_cgi")
server.document-root = "{folder}/srv"
server.bind = "{host}"
server.port = {port}
server.upload-dirs = ("{folder}")
alias.url = ("/" => "/usr/lib/git-core/git-http-backend/")
cgi.assign = ("" => "")
setenv.set-environment = ("GIT_PROJECT_ROOT" => "{folder}/srv", "GIT_HTTP_EXPORT_ALL" => "1")
auth.backend = "plain"
auth.backend.plain.userfile = "{folder}/users"
$HTTP["url"] =~ "^/private/" {{
  auth.require = ("" => ("method" => "basic", "realm" => "ignite", "require" => "valid-user"))
}}
"#
    )
}
