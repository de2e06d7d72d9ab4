//! Git addresses over ssh: `ssh://user@host:port/path` and `user@host:path`, in one normal form.

use std::fmt;

use url::{Host, Url};

/// The user of an address that names none, as forges have it.
const USER_DEFAULT: &str = "git";
const PORT: u16 = 22;
const SCHEMES: [&str; 3] = ["ssh", "git+ssh", "ssh+git"];

/// A git repository on an ssh server. Nothing in it can be taken for an option, and `Display` gives `ssh://user@host:port/path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshAddress {
    pub user: String,
    pub host: Host,
    /// None: ssh's own.
    pub port: Option<u16>,
    /// Begins with a slash, percent-encoded.
    pub path: String,
}

/// Whether the text means ssh at all: `ssh://…`, `git+ssh://…` or `user@host:path`.
pub fn is_ssh(text: &str) -> bool {
    match text.split_once("://") {
        Some((scheme, _)) => scheme.to_ascii_lowercase().split('+').any(|part| part == "ssh"),
        None => text.split_once(':').is_some_and(|(host, _)| host.contains('@')),
    }
}

// === impl SshAddress ===

impl fmt::Display for SshAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ssh://{}@{}", self.user, self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(&self.path)
    }
}

impl SshAddress {
    /// Reads either form. The path of `user@host:path` is taken from the server's root, as forges do.
    ///
    /// # Errors
    /// What would be right, to follow the field's name.
    pub fn parse(text: &str) -> Result<Self, String> {
        let long = match text.split_once("://") {
            Some((scheme, rest)) if SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known)) => {
                format!("ssh://{rest}")
            }
            Some(_) => return Err("must be ssh://user@host/path or user@host:path".to_owned()),
            None => {
                let (place, path) = text
                    .split_once(':')
                    .ok_or_else(|| "must be ssh://user@host/path or user@host:path".to_owned())?;
                format!("ssh://{place}/{}", path.trim_start_matches('/'))
            }
        };
        let url = Url::parse(&long).map_err(|wrong| format!("must be ssh://user@host/path: {wrong}"))?;
        if url.password().is_some() {
            return Err("must not hold a password; store a key instead".to_owned());
        }
        let user = match url.username() {
            "" => USER_DEFAULT,
            user => user,
        };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if user.starts_with('-') || !user.chars().all(is_plain) {
            return Err("must have a user of letters, digits, '.', '_' and '-'".to_owned());
        }
        // The parser leaves the host of this scheme as it is: names are not lower case yet, addresses not told apart.
        let host = url.host_str().unwrap_or_default();
        // `host.` is the same host as `host`.
        let host = Host::parse(host.strip_suffix('.').unwrap_or(host))
            .map_err(|wrong| format!("must name a host: {wrong}"))?;
        if matches!(&host, Host::Domain(name) if name.starts_with('-')) {
            return Err("must name a host".to_owned());
        }
        check_path(&url)?;
        Ok(Self {
            user: user.to_owned(),
            host,
            port: url.port().filter(|port| *port != PORT),
            path: url.path().to_owned(),
        })
    }

    pub fn port_or_default(&self) -> u16 {
        self.port.unwrap_or(PORT)
    }
}

fn check_path(url: &Url) -> Result<(), String> {
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must not have a query or a fragment".to_owned());
    }
    if url.port() == Some(0) {
        return Err("must not use port 0".to_owned());
    }
    if url.path().trim_matches('/').is_empty() {
        return Err("must name a repository after the host".to_owned());
    }
    if super::git::has_encoded_control(url.path()) {
        return Err("must not hold encoded control characters".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_have_one_normal_form() {
        for (text, normal) in [
            ("git@GitHub.com:acme/web.git", "ssh://git@github.com/acme/web.git"),
            (
                "ssh://git@github.com:22/acme/web.git",
                "ssh://git@github.com/acme/web.git",
            ),
            ("ssh://host.example/a", "ssh://git@host.example/a"),
            ("git+ssh://me@host:2222/a/../b", "ssh://me@host:2222/b"),
            ("ssh://me@[::1]:22/a", "ssh://me@[::1]/a"),
            ("me@127.1:/a", "ssh://me@127.0.0.1/a"),
            ("ssh://git@host./~me/a", "ssh://git@host/~me/a"),
        ] {
            let address = SshAddress::parse(text).unwrap();
            assert_eq!(address.to_string(), normal, "{text}");
            assert_eq!(SshAddress::parse(normal).as_ref(), Ok(&address), "{text}");
        }
    }

    #[test]
    fn what_could_be_more_than_an_address_is_refused() {
        for text in [
            "ssh://git:secret@host/a",
            "ssh://-oProxyCommand=x@host/a",
            "ssh://git@-oProxyCommand=x/a",
            "-oProxyCommand=x@host:a",
            "ssh://git@host",
            "ssh://git@host/",
            "git@host:",
            "ssh://git@host/a?b",
            "ssh://git@host/a#b",
            "ssh://git@host:0/a",
            "ssh://git@host/a%0ab",
            "ssh:///a",
            "ssh://git%20x@host/a",
            "git@ho st:a",
            "https://host/a",
            "a+b+ssh://host/a",
        ] {
            assert!(SshAddress::parse(text).is_err(), "{text}");
        }
    }
}
