//! The bearer token: shown nowhere, sent as a header, stored in a file of mode 0600.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Not empty, visible ASCII. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Token(String);

// === impl Token ===

impl Token {
    /// White space around it goes: files and terminals end lines.
    pub(crate) fn new(text: &str) -> Result<Self> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Error::input("the token is empty"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::input(
                "the token has characters that no token has (spaces, control characters, non-ASCII)",
            ));
        }
        Ok(Self(text.to_owned()))
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Token {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::new(&text)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}
