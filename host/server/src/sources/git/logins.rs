//! Which servers see the organization's login, and how git comes by it: from files in memory that have no name, by their
//! numbers in this process. So nothing of it is on disk, in arguments or in an environment, and all of it is gone with this
//! process.
//!
//! By https git asks a helper, and only for the one host and scheme that the helper is set up for, and only once the server
//! has asked. By ssh nothing of the machine's takes part: no agent, no configuration, no known hosts but the stored ones.

use std::{fmt::Write as _, fs::File, io, os::fd::AsRawFd, process::Command};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ignite_core::secrets::{GitHttpsLogin, GitLogin, GitSshLogin};
use url::{Host, Url};
use zeroize::Zeroizing;

use super::{
    GitRules,
    error::{GitError, Shown},
    origin::{Origin, Place, Scheme},
};
use crate::unnamed;

/// The organization's login, and the source that it is for.
pub(super) struct Logins<'a> {
    login: Option<&'a GitLogin>,
    /// Of the source's own URL.
    top: Option<Place>,
    http_allowed: bool,
}

/// What one repository's server may be shown.
#[derive(Debug)]
pub(super) enum Access {
    Nothing(Shown),
    Password {
        /// What git's helper prints.
        answer: File,
    },
    Key {
        key: File,
        known_hosts: File,
    },
}

/// ssh reads nothing but what it is given here.
const SSH_OPTIONS: [&str; 24] = [
    "AddKeysToAgent=no",
    "BatchMode=yes",
    "CanonicalizeHostname=no",
    "CheckHostIP=no",
    "ClearAllForwardings=yes",
    "ConnectTimeout=15",
    "ControlMaster=no",
    "ControlPath=none",
    "ForwardAgent=no",
    "GlobalKnownHostsFile=/dev/null",
    "IdentitiesOnly=yes",
    "IdentityAgent=none",
    "LogLevel=ERROR",
    "PermitLocalCommand=no",
    "PreferredAuthentications=publickey",
    "ProxyCommand=none",
    "ProxyJump=none",
    "RequestTTY=no",
    "ServerAliveCountMax=4",
    "ServerAliveInterval=15",
    "StrictHostKeyChecking=yes",
    "UpdateHostKeys=no",
    "VerifyHostKeyDNS=no",
    "VisualHostKey=no",
];

// === impl Logins ===

impl<'a> Logins<'a> {
    /// `top` is the source's own URL.
    pub(super) fn new(login: Option<&'a GitLogin>, top: &Url, rules: &GitRules) -> Self {
        Self {
            login,
            top: Place::of(top),
            http_allowed: rules.http_allowed,
        }
    }

    /// Without a key for it there is no way to a server by ssh.
    pub(super) fn require_key(&self, url: &Url) -> Result<(), GitError> {
        let is_keyless = |place: Place| {
            let here = self.login.filter(|login| self.is_for(login, &place));
            place.scheme == Scheme::Ssh && here.is_none_or(|login| login.ssh.is_none())
        };
        match Place::of(url).is_some_and(is_keyless) {
            true => Err(self.no_key(url)),
            false => Ok(()),
        }
    }

    /// What the server of `origin`, the source's or a submodule's, is shown.
    pub(super) fn access(&self, origin: &Origin) -> Result<Access, GitError> {
        let place = origin.place();
        let here = self.login.filter(|login| self.is_for(login, place));
        let held = |source| GitError::internal("holding the git login", &source);
        match place.scheme {
            Scheme::Ssh => match here.and_then(|login| login.ssh.as_ref()) {
                Some(login) if is_locked(login.private_key.reveal()) => Err(GitError::auth(
                    "the stored ssh key has a passphrase: store one without".to_owned(),
                )),
                Some(login) => Access::key(login).map_err(held),
                None => Err(self.no_key(origin.url())),
            },
            Scheme::Https | Scheme::Http => match here.and_then(|login| login.https.as_ref()) {
                Some(login) if place.scheme == Scheme::Https || self.speaks_http() => Access::password(login),
                Some(_) | None => Ok(Access::Nothing(match self.login {
                    Some(_) => Shown::NotHere,
                    None => Shown::Nothing,
                })),
            },
        }
    }

    /// Without what the login is made of, in case a server has said it back.
    pub(super) fn scrubbed(&self, mut error: GitError) -> GitError {
        for secret in self.login.into_iter().flat_map(spellings) {
            if secret.len() >= SCRUBBED_BYTES_MIN {
                error.message = error.message.replace(secret.as_str(), "***");
            }
        }
        error
    }

    /// A password goes over http only if the source itself is fetched so: no submodule can bring it down to that.
    fn speaks_http(&self) -> bool {
        let top_is_http = self.top.as_ref().is_some_and(|top| top.scheme == Scheme::Http);
        self.http_allowed && top_is_http
    }

    fn is_for(&self, login: &GitLogin, place: &Place) -> bool {
        if login.hosts.is_empty() {
            return self.top.as_ref().is_some_and(|top| is_same(top, place));
        }
        login.hosts.iter().any(|host| names(host, place))
    }

    fn no_key(&self, url: &Url) -> GitError {
        let why = match self.login {
            Some(login) if login.ssh.is_some() => "the stored ssh key is for other hosts",
            Some(_) | None => "no ssh key is stored for it: store one, with the server's known_hosts",
        };
        GitError::auth(format!("{url} could not be fetched: {why}"))
    }
}

/// Shorter ones would take words apart; no server grants anything for them.
const SCRUBBED_BYTES_MIN: usize = 6;

/// What of a login a server could send back, in the forms in which it was sent.
fn spellings(login: &GitLogin) -> Vec<Zeroizing<String>> {
    let mut found = Vec::new();
    if let Some(https) = &login.https {
        let password = https.password.reveal();
        let pair = Zeroizing::new(format!("{}:{password}", https.username));
        found.push(Zeroizing::new(STANDARD.encode(pair.as_bytes())));
        found.push(Zeroizing::new(
            url::form_urlencoded::byte_serialize(password.as_bytes()).collect(),
        ));
        found.push(Zeroizing::new(password.to_owned()));
    }
    if let Some(ssh) = &login.ssh {
        let lines = ssh.private_key.reveal().lines();
        found.extend(
            lines
                .filter(|line| !line.starts_with("-----"))
                .map(|line| Zeroizing::new(line.to_owned())),
        );
    }
    found
}

/// The same server as the source's: on the same port, or each on its scheme's own.
fn is_same(top: &Place, place: &Place) -> bool {
    let both_default = top.has_default_port() && place.has_default_port();
    top.host == place.host && (both_default || top.port == place.port && top.scheme == place.scheme)
}

/// Whether `entry`, `name` or `name:port`, names the place. Without a port it is the scheme's own.
fn names(entry: &str, place: &Place) -> bool {
    let (name, port) = match entry.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => match port.parse::<u16>() {
            Ok(port) => (name, Some(port)),
            Err(_) => return false,
        },
        Some(_) | None => (entry, None),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    Host::parse(name).is_ok_and(|host| host == place.host)
        && port.map_or(place.has_default_port(), |port| port == place.port)
}

// === impl Access ===

impl Access {
    pub(super) fn shown(&self) -> Shown {
        match self {
            Self::Nothing(shown) => *shown,
            Self::Password { .. } => Shown::Password,
            Self::Key { .. } => Shown::Key,
        }
    }

    /// Has git show the login to the origin's server, if there is one for it.
    pub(super) fn grant(&self, command: &mut Command, origin: &Origin) {
        match self {
            Self::Nothing(_) => {}
            Self::Password { answer } => {
                let Place { scheme, host, port } = origin.place();
                let helper = format!("!f() {{ test \"$1\" = get && cat {}; }}; f", path_of(answer));
                let scheme = scheme.as_str();
                command
                    .arg("-c")
                    .arg(format!("credential.{scheme}://{host}:{port}.helper={helper}"));
            }
            Self::Key { key, known_hosts } => {
                command.env(
                    "GIT_SSH_COMMAND",
                    ssh(origin, &path_of(key), &path_of(known_hosts)),
                );
                command.env("GIT_SSH_VARIANT", "ssh");
            }
        }
    }

    fn password(login: &GitHttpsLogin) -> Result<Self, GitError> {
        let (username, password) = (&login.username, login.password.reveal());
        // They would end the line, and begin another, of what git reads.
        if [username.as_str(), password]
            .iter()
            .any(|text| text.contains(['\n', '\r', '\0']))
        {
            return Err(GitError::auth(
                "the stored git login cannot be used: name and password must be one line each".to_owned(),
            ));
        }
        let lines = Zeroizing::new(format!("username={username}\npassword={password}\n"));
        let answer = unnamed::holding(lines.as_bytes())
            .map_err(|source| GitError::internal("holding the git login", &source))?;
        Ok(Self::Password { answer })
    }

    fn key(login: &GitSshLogin) -> io::Result<Self> {
        Ok(Self::Key {
            key: unnamed::holding(text_file(login.private_key.reveal()).as_bytes())?,
            known_hosts: unnamed::holding(text_file(&login.known_hosts).as_bytes())?,
        })
    }
}

/// The command that git runs, by way of a shell.
fn ssh(origin: &Origin, key: &str, known_hosts: &str) -> String {
    let Place { host, port, .. } = origin.place();
    // As known_hosts has it.
    let alias = match origin.place().has_default_port() {
        true => host.to_string(),
        false => format!("[{}]:{port}", host.to_string().trim_matches(['[', ']'])),
    };
    let mut command = "ssh -F /dev/null".to_owned();
    let mut option = |text: &str| {
        // Nothing here has a quote in it: a host is checked, the rest is ours.
        let _infallible = write!(command, " -o '{text}'");
    };
    SSH_OPTIONS.into_iter().for_each(&mut option);
    option(&format!("IdentityFile={key}"));
    option(&format!("UserKnownHostsFile={known_hosts}"));
    option(&format!("HostKeyAlias={alias}"));
    if let Some(address) = origin.address() {
        // The one that was checked, whatever the name leads to by now.
        option(&format!("HostName={address}"));
    }
    command
}

/// Whether a private key is itself encrypted. ssh would say no more than that the server refused it.
fn is_locked(key: &str) -> bool {
    const OPENSSH: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
    // The format's name, then the cipher's, behind its length.
    const UNLOCKED: &[u8] = b"openssh-key-v1\0\0\0\0\x04none";
    let Some((_, body)) = key.split_once(OPENSSH) else {
        return key.contains("ENCRYPTED");
    };
    let head: String = body
        .chars()
        .filter(|c| !c.is_whitespace())
        .take(UNLOCKED.len().div_ceil(3) * 4)
        .collect();
    // What cannot be read is for ssh to refuse.
    STANDARD
        .decode(head)
        .is_ok_and(|head| !head.starts_with(UNLOCKED))
}

/// As ssh wants it: line ends of its own kind, one at the end too.
fn text_file(text: &str) -> Zeroizing<String> {
    let mut lines = Zeroizing::new(String::with_capacity(text.len() + 1));
    for line in text.lines() {
        lines.push_str(line);
        lines.push('\n');
    }
    lines
}

/// The file for a process that this one started.
fn path_of(file: &File) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str) -> Place {
        Place::of(&Url::parse(url).unwrap()).unwrap()
    }

    #[test]
    fn a_host_is_named_with_its_port_or_its_schemes_own() {
        for (entry, url, is) in [
            ("git.example.com", "https://git.example.com/a", true),
            ("Git.Example.com.", "ssh://git@git.example.com/a", true),
            ("git.example.com:443", "https://git.example.com/a", true),
            ("git.example.com:8443", "https://git.example.com:8443/a", true),
            ("[::1]:8443", "https://[::1]:8443/a", true),
            ("[::1]", "https://[::1]/a", true),
            ("127.0.0.1:22", "ssh://git@127.0.0.1/a", true),
            ("git.example.com", "https://git.example.com:8443/a", false),
            ("git.example.com:22", "https://git.example.com/a", false),
            ("example.com", "https://git.example.com/a", false),
            ("git.example.com", "https://git.example.com.evil.org/a", false),
            ("*", "https://git.example.com/a", false),
            ("", "https://git.example.com/a", false),
        ] {
            assert_eq!(names(entry, &place(url)), is, "{entry} {url}");
        }
    }

    #[test]
    fn the_sources_own_server_is_the_same_by_any_scheme_on_its_own_port() {
        let top = place("https://git.example.com/a");
        for (url, is) in [
            ("https://git.example.com/b", true),
            ("ssh://git@git.example.com/b", true),
            ("https://git.example.com:8443/b", false),
            ("https://other.example.com/b", false),
        ] {
            assert_eq!(is_same(&top, &place(url)), is, "{url}");
        }
        let odd = place("https://git.example.com:8443/a");
        assert!(is_same(&odd, &place("https://git.example.com:8443/b")));
        assert!(!is_same(&odd, &place("https://git.example.com/b")));
        assert!(!is_same(&odd, &place("ssh://git@git.example.com:8443/b")));
    }

    #[test]
    fn a_login_that_would_say_more_than_itself_is_not_used() {
        for (username, password) in [("a\nhost=b", "p"), ("a", "p\nquit=1"), ("a", "p\0")] {
            let login = GitHttpsLogin {
                username: username.to_owned(),
                password: ignite_core::secrets::SecretText::new(password.to_owned()),
            };
            let error = Access::password(&login).unwrap_err();
            assert_eq!(error.failure, ignite_core::run::FetchFailure::Auth);
        }
    }
}
