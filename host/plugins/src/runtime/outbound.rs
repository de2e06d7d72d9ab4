//! What `notify` may reach. Every other hook reaches nothing.
//!
//! A grant is `host` or `host:port`, reached by https (port 443 if none is named), or `http://host[:port]` (port 80), reached
//! by plain http. Names are compared whole and without regard to case. The name is resolved once, every address that is not
//! of the public internet is left out, and the connection goes to one of the rest: what the name resolves to a moment later
//! does not matter. Redirects are not followed here; a guest that follows one passes the same check again.

use std::{future::Future, sync::Arc};

use http::{Request, Response, Uri, uri::Scheme};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

pub(crate) use dial::Dialer;

mod body;
mod dial;

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Result<(Response<WasiBody>, Io), Error>;

/// The grant of one call.
#[derive(Debug)]
pub(crate) struct Outbound {
    granted: Option<(Arc<Dialer>, Vec<Target>)>,
}

/// Whom to connect to, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Lower case, without brackets.
    host: String,
    port: u16,
    tls: bool,
}

// === impl Outbound ===

impl Outbound {
    /// Reaches nothing.
    pub(crate) fn none() -> Self {
        Self { granted: None }
    }

    /// Reaches `hosts`. What is no host is left out: the policy was to refuse it.
    pub(crate) fn to(dialer: Arc<Dialer>, hosts: &[String]) -> Self {
        let targets = hosts.iter().filter_map(|host| Target::of_grant(host)).collect();
        Self {
            granted: Some((dialer, targets)),
        }
    }

    fn allowed(&self, uri: &Uri) -> Result<(Arc<Dialer>, Target), Error> {
        let target = Target::of_uri(uri).ok_or(Error::HttpRequestUriInvalid)?;
        match &self.granted {
            Some((dialer, targets)) if targets.contains(&target) => Ok((Arc::clone(dialer), target)),
            _ => Err(Error::HttpRequestDenied),
        }
    }
}

impl WasiHttpHooks for Outbound {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _sent: Io,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        match self.allowed(request.uri()) {
            Ok((dialer, target)) => {
                Box::new(async move { dialer.send(target, request, options.unwrap_or_default()).await })
            }
            Err(error) => Box::new(async { Err(error) }),
        }
    }
}

// === impl Target ===

impl Target {
    fn of_grant(grant: &str) -> Option<Self> {
        let url = if grant.contains("://") {
            grant.to_owned()
        } else {
            format!("https://{grant}")
        };
        Self::of_uri(&url.parse().ok()?)
    }

    fn of_uri(uri: &Uri) -> Option<Self> {
        let tls = match uri.scheme()? {
            scheme if *scheme == Scheme::HTTPS => true,
            scheme if *scheme == Scheme::HTTP => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        // A name in front of the host is a way to make one look like another.
        if authority.as_str().contains('@') {
            return None;
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        Some(Self {
            host: host.to_ascii_lowercase(),
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            tls,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reaches(grant: &str, uri: &str) -> bool {
        let outbound = Outbound::to(Arc::new(Dialer::new(false)), &[grant.to_owned()]);
        outbound.allowed(&uri.parse().unwrap()).is_ok()
    }

    #[test]
    fn a_grant_is_for_one_host_port_and_scheme() {
        assert!(reaches("hooks.example.com", "https://hooks.example.com/a"));
        assert!(reaches("hooks.example.com", "https://HOOKS.example.com:443/a"));
        assert!(reaches(
            "hooks.example.com:8443",
            "https://hooks.example.com:8443"
        ));
        assert!(reaches("http://hooks.example.com", "http://hooks.example.com/a"));
        for uri in [
            "http://hooks.example.com/a",
            "https://hooks.example.com:444/a",
            "https://example.com/a",
            "https://hooks.example.com.evil.net/a",
            "https://hooks.example.com@evil.net/a",
            "https://evil.net@hooks.example.com/a",
            "https://hooks.example.com./a",
        ] {
            assert!(!reaches("hooks.example.com", uri), "{uri}");
        }
    }

    #[test]
    fn without_a_grant_nothing_is_reached() {
        let uri = "https://hooks.example.com/".parse().unwrap();
        assert!(Outbound::none().allowed(&uri).is_err());
    }
}
