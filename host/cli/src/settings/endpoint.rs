//! Where the server is, and whether TLS is spoken there.

use std::fmt;

use url::Url;

use crate::error::{Error, Result};

/// `http://host[:port]` or `https://host[:port]`, nothing behind it. The text is normal: equal endpoints are equal texts.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Endpoint(String);

// === impl Endpoint ===

impl Endpoint {
    /// A bare `host:port` means TLS, unless `plaintext`; a scheme always wins.
    pub(crate) fn parse(text: &str, plaintext: bool) -> Result<Self> {
        let text = text.trim();
        let with_scheme = if text.contains("://") {
            text.to_owned()
        } else {
            format!("{}://{text}", if plaintext { "http" } else { "https" })
        };
        // The text itself stays out of the message: it may carry a password.
        let refuse = |why: &str| {
            Error::input(format!(
                "the API endpoint {why}; give http://HOST:PORT, https://HOST:PORT or HOST:PORT"
            ))
        };
        let url = Url::parse(&with_scheme).map_err(|error| refuse(&format!("is not a URL ({error})")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refuse("has a scheme that is neither http nor https"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("carries credentials"));
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(refuse("has a path"));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(refuse("has no host"));
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.0.starts_with("https://")
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_decides_about_tls_and_debug_only_where_there_is_none() {
        for (text, debug, expected) in [
            ("http://127.0.0.1:8080", false, "http://127.0.0.1:8080"),
            ("https://ignite.example/", true, "https://ignite.example"),
            ("ignite.example:8443", false, "https://ignite.example:8443"),
            ("ignite.example:8443", true, "http://ignite.example:8443"),
            ("localhost", true, "http://localhost"),
            ("[::1]:8080", true, "http://[::1]:8080"),
            ("HTTPS://Ignite.Example:443", false, "https://ignite.example"),
        ] {
            let endpoint = Endpoint::parse(text, debug).unwrap();
            assert_eq!(endpoint.as_str(), expected, "{text}");
            assert_eq!(endpoint.is_tls(), expected.starts_with("https"), "{text}");
        }
    }

    #[test]
    fn what_is_more_than_an_origin_is_refused_without_being_repeated() {
        for text in [
            "",
            "ftp://host",
            "https://user:hunter2@host",
            "https://host/v1",
            "https://host?x=1",
            "http://",
            "a b",
        ] {
            let error = Endpoint::parse(text, false).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
