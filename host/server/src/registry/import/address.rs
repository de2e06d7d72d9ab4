//! Which hosts are connected to.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use ignite_core::request::address::is_public;
use reqwest::{
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};
use url::{Host, Url};

use super::{FIELD, ImportRules};
use crate::error::{Error, Result};

const REDIRECTS_MAX: usize = 5;

/// The rule for addresses; resolves names for the client, so that what was checked is what is connected to.
#[derive(Debug)]
pub(super) struct Reach {
    private_addresses_allowed: bool,
    /// Hosts without ports.
    own: Vec<String>,
    /// Hosts with ports, as configured.
    insecure: Vec<String>,
}

// === impl Reach ===

impl Reach {
    pub(super) fn new(rules: &ImportRules) -> Self {
        Self {
            private_addresses_allowed: rules.private_addresses_allowed,
            own: rules.own.iter().map(|host| bare(host)).collect(),
            insecure: rules.insecure.clone(),
        }
    }

    /// Tells the caller early and clearly; that it holds is up to the resolver.
    pub(super) async fn check(&self, host: &str) -> Result<()> {
        let bare = bare(host);
        let addresses = match bare.parse::<IpAddr>() {
            Ok(address) => vec![address],
            // Names that are not found fail when they are connected to.
            Err(_) => match tokio::net::lookup_host((bare.as_str(), 443)).await {
                Ok(found) => found.map(|found| found.ip()).collect(),
                Err(_) => Vec::new(),
            },
        };
        match addresses.iter().all(|address| self.allows(&bare, *address)) {
            true => Ok(()),
            false => Err(Error::invalid(
                FIELD,
                format!("the registry {host} must be at a public address"),
            )),
        }
    }

    fn allows(&self, bare: &str, address: IpAddr) -> bool {
        self.private_addresses_allowed || is_public(address) || self.own.iter().any(|own| own == bare)
    }

    /// What a redirect, or a registry for its login service, points to. Names are for the resolver to judge.
    pub(super) fn allows_url(&self, url: &Url) -> bool {
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(_)) => None,
            None => return false,
        };
        let host = url.host_str().unwrap_or_default();
        let with_port = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let secure =
            url.scheme() == "https" || (url.scheme() == "http" && self.insecure.contains(&with_port));
        secure && literal.is_none_or(|address| self.allows(&bare(host), address))
    }
}

impl Resolve for Reach {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        let any = self.private_addresses_allowed || self.own.contains(&host);
        Box::pin(async move {
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|found| any || is_public(found.ip())).collect();
            match allowed.is_empty() {
                true => Err(io::Error::other("it has no public address").into()),
                false => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

pub(super) fn redirects(reach: Arc<Reach>) -> redirect::Policy {
    redirect::Policy::custom(move |attempt| {
        if attempt.previous().len() > REDIRECTS_MAX || !reach.allows_url(attempt.url()) {
            attempt.error("redirected to where we do not go")
        } else {
            attempt.follow()
        }
    })
}

/// Without its port and brackets.
fn bare(host: &str) -> String {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((v6, _)) => v6,
        None => match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.contains(':') => name,
            Some(_) | None => host,
        },
    };
    name.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(own: &[&str]) -> Reach {
        Reach::new(&ImportRules {
            insecure: vec!["plain.example:5000".to_owned()],
            own: own.iter().map(|host| (*host).to_owned()).collect(),
            private_addresses_allowed: false,
            component_bytes_max: 1,
        })
    }

    #[tokio::test]
    async fn only_the_operators_own_registries_may_be_private() {
        let reach = reach(&["127.0.0.1:5000"]);
        reach.check("127.0.0.1:5000").await.unwrap();
        for host in [
            "127.0.0.2:5000",
            "10.0.0.1",
            "[::1]:5000",
            "[::ffff:10.0.0.1]",
            "localhost",
        ] {
            let error = reach.check(host).await.unwrap_err().to_string();
            assert!(error.contains("public address"), "{host}: {error}");
        }
    }

    #[test]
    fn redirects_lead_to_public_addresses_over_tls_only() {
        let reach = reach(&["10.0.0.1"]);
        for (url, allowed) in [
            ("https://cdn.example/x", true),
            ("https://10.0.0.1/x", true),
            ("http://plain.example:5000/x", true),
            ("http://cdn.example/x", false),
            ("https://169.254.169.254/latest", false),
            ("https://[::1]/x", false),
            ("https://2130706433/x", false),
            ("file:///etc/hostname", false),
        ] {
            assert_eq!(reach.allows_url(&url.parse().unwrap()), allowed, "{url}");
        }
    }

    #[tokio::test]
    async fn a_name_is_resolved_to_public_addresses_only() {
        let resolved = reach(&[]).resolve("localhost".parse().unwrap()).await;
        assert!(resolved.is_err());
        let resolved = reach(&["localhost:5000"])
            .resolve("localhost".parse().unwrap())
            .await;
        assert!(resolved.unwrap().next().is_some());
    }
}
