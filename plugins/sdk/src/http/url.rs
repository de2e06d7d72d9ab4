//! The little of URLs that a POST needs.

use std::fmt;

use serde::Deserialize;

/// An `http` or `https` URL with a host and without user, password or fragment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Url {
    tls: bool,
    authority: String,
    path_with_query: String,
}

/// Why a text is no [`Url`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidUrl(&'static str);

// === impl Url ===

impl Url {
    /// # Errors
    ///
    /// What would be right.
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        let (tls, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err(InvalidUrl("begins with `https://` or `http://`")),
        };
        if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidUrl(
                "is ASCII without spaces: write other characters as %XX",
            ));
        }
        if rest.contains('#') {
            return Err(InvalidUrl("has no fragment (`#…`)"));
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(InvalidUrl("has no user or password: send a header instead"));
        }
        if authority.is_empty() || authority.starts_with(':') {
            return Err(InvalidUrl("names a host"));
        }
        let path_with_query = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        };
        Ok(Self {
            tls,
            authority: authority.to_owned(),
            path_with_query,
        })
    }

    /// `https` rather than `http`.
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// Host, and port if one is named.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Begins with `/`.
    pub fn path_with_query(&self) -> &str {
        &self.path_with_query
    }
}

/// Without path and query, which often hold a token.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}://{}",
            if self.tls { "https" } else { "http" },
            self.authority
        )
    }
}

impl TryFrom<String> for Url {
    type Error = InvalidUrl;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl schemars::JsonSchema for Url {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Url".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^https?://[!-~]+$" })
    }
}

impl fmt::Display for InvalidUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a URL to post to: one {}", self.0)
    }
}

impl std::error::Error for InvalidUrl {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_as_a_request_needs_it() {
        let url = Url::parse("https://hooks.example:8443/services/T0?x=1").unwrap();
        assert!(url.tls());
        assert_eq!(
            (url.authority(), url.path_with_query()),
            ("hooks.example:8443", "/services/T0?x=1")
        );
        let bare = Url::parse("http://[::1]:80?x").unwrap();
        assert_eq!(
            (bare.tls(), bare.authority(), bare.path_with_query()),
            (false, "[::1]:80", "/?x")
        );
    }

    #[test]
    fn what_a_post_cannot_use_is_refused() {
        for text in [
            "",
            "hooks.example",
            "ftp://a/",
            "https://",
            "https:///x",
            "https://:80/",
            "https://u:p@a/",
            "https://a/ b",
            "https://a/\n",
            "https://ä/",
            "https://a/#x",
        ] {
            assert!(Url::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn shown_without_the_path_which_often_holds_a_token() {
        assert_eq!(
            Url::parse("https://a.example/secret?k=v").unwrap().to_string(),
            "https://a.example"
        );
    }
}
