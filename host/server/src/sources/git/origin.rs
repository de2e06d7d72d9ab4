//! Where a repository is fetched from: a URL that was checked and the addresses its host had at that moment.
//!
//! Connections are pinned to those addresses. Were the name asked again, whoever runs its DNS could answer with a public
//! address for the check and with 127.0.0.1 for the connection.

use std::{
    io,
    net::{IpAddr, ToSocketAddrs},
};

use ignite_core::request::ssh::{SshAddress, is_ssh};
use url::{Host, Url};

use super::{GitRules, Resolve, address, error::GitError};

/// A URL and where it leads.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    url: Url,
    place: Place,
    /// At least one.
    addresses: Vec<IpAddr>,
}

/// What a URL is about, whatever its scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) scheme: Scheme,
    pub(super) host: Host,
    pub(super) port: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Https,
    Http,
    Ssh,
}

const URL_BYTES_MAX: usize = 2048;

/// The form of a URL, before anything is asked of the network.
pub(super) fn check(text: &str, rules: &GitRules) -> Result<Url, GitError> {
    let refused = |why: &str| Err(GitError::source(format!("the git URL is not allowed: {why}")));
    let is_odd = |c: char| c.is_control() || c.is_whitespace() || c == '\\';
    if text.len() > URL_BYTES_MAX || text.contains(is_odd) {
        return refused("it is too long, or has spaces, backslashes or control characters");
    }
    if is_ssh(text) {
        return match SshAddress::parse(text).map(|address| Url::parse(&address.to_string())) {
            Ok(Ok(url)) => Ok(url),
            Ok(Err(_)) => refused("it is malformed"),
            Err(why) => refused(&format!("it {why}")),
        };
    }
    let Ok(mut url) = Url::parse(text) else {
        return refused("it is not of the form https://host/path");
    };
    match url.scheme() {
        "https" => {}
        "http" if rules.http_allowed => {}
        "http" => return refused("this gateway fetches by https and ssh, not by http"),
        _ => return refused("only https and ssh are supported"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refused("it has credentials in it");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return refused("it has a query or a fragment");
    }
    // `host.` is the same host as `host`, but not the same key to pin.
    let bare = match url.host() {
        Some(Host::Domain(host)) => host.strip_suffix('.').map(str::to_owned),
        Some(Host::Ipv4(_) | Host::Ipv6(_)) | None => None,
    };
    if bare.is_some_and(|bare| url.set_host(Some(&bare)).is_err()) {
        return refused("its host is malformed");
    }
    if url.host_str().is_none_or(str::is_empty) {
        return refused("it has no host");
    }
    Ok(url)
}

pub(super) fn resolve_by_system(host: &str, port: u16) -> io::Result<Vec<IpAddr>> {
    Ok((host, port)
        .to_socket_addrs()?
        .map(|address| address.ip())
        .collect())
}

// === impl Origin ===

impl Origin {
    /// Resolves the host of a checked URL.
    pub(super) fn reach(url: Url, rules: &GitRules, resolve: &Resolve) -> Result<Self, GitError> {
        let place = Place::of(&url)
            .ok_or_else(|| GitError::source("the git URL is not allowed: it has no host".to_owned()))?;
        let addresses = match &place.host {
            Host::Ipv4(v4) => vec![IpAddr::V4(*v4)],
            Host::Ipv6(v6) => vec![IpAddr::V6(*v6)],
            Host::Domain(name) => resolve(name, place.port).unwrap_or_default(),
        };
        if addresses.is_empty() {
            return Err(GitError::source(format!("the host of {url} was not found")));
        }
        // One such address among good ones is refused too: curl takes whichever answers.
        if !rules.private_addresses_allowed && !addresses.iter().copied().all(address::is_public) {
            return Err(GitError::source(format!(
                "the host of {url} has an address that is not public; this gateway does not fetch from there"
            )));
        }
        Ok(Self {
            url,
            place,
            addresses,
        })
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Curl's `host:port:address,…`; none where the host is an address itself.
    pub(super) fn pin(&self) -> Option<String> {
        match &self.place.host {
            Host::Domain(name) => Some(format!("{name}:{}:{}", self.place.port, joined(&self.addresses))),
            Host::Ipv4(_) | Host::Ipv6(_) => None,
        }
    }

    /// For programs that take one: the system's first choice.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.addresses.first().copied()
    }
}

// === impl Place ===

impl Place {
    /// None if the URL is not one that [`check`] has let pass.
    pub(super) fn of(url: &Url) -> Option<Self> {
        let scheme = match url.scheme() {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            // The parser of URLs does not tell names and addresses apart here.
            "ssh" => {
                let address = SshAddress::parse(url.as_str()).ok()?;
                return Some(Self {
                    scheme: Scheme::Ssh,
                    port: address.port_or_default(),
                    host: address.host,
                });
            }
            _ => return None,
        };
        Some(Self {
            scheme,
            port: url.port_or_known_default()?,
            host: url.host()?.to_owned(),
        })
    }

    pub(super) fn has_default_port(&self) -> bool {
        self.port == self.scheme.default_port()
    }
}

// === impl Scheme ===

impl Scheme {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
            Self::Ssh => "ssh",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Https => 443,
            Self::Http => 80,
            Self::Ssh => 22,
        }
    }
}

fn joined(addresses: &[IpAddr]) -> String {
    let mut shown: Vec<String> = Vec::new();
    for address in addresses {
        let one = match address {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        };
        if !shown.contains(&one) {
            shown.push(one);
        }
    }
    shown.join(",")
}
