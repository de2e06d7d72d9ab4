//! Who calls: what a token stands for.

use std::{collections::BTreeSet, str::FromStr};

use ignite_core::ids::OrgId;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub org: OrgId,
    pub subject: String,
    pub scopes: BTreeSet<Scope>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scope {
    #[serde(rename = "builds:read")]
    BuildsRead,
    /// Create, cancel, retry builds; upload contexts.
    #[serde(rename = "builds:write")]
    BuildsWrite,
    #[serde(rename = "builds:approve")]
    BuildsApprove,
    #[serde(rename = "plugins:read")]
    PluginsRead,
    #[serde(rename = "plugins:write")]
    PluginsWrite,
    #[serde(rename = "policies:read")]
    PoliciesRead,
    #[serde(rename = "policies:write")]
    PoliciesWrite,
    #[serde(rename = "secrets:read")]
    SecretsRead,
    #[serde(rename = "secrets:write")]
    SecretsWrite,
}

// === impl Scope ===

impl Scope {
    pub const ALL: [Self; 9] = [
        Self::BuildsRead,
        Self::BuildsWrite,
        Self::BuildsApprove,
        Self::PluginsRead,
        Self::PluginsWrite,
        Self::PoliciesRead,
        Self::PoliciesWrite,
        Self::SecretsRead,
        Self::SecretsWrite,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::BuildsRead => "builds:read",
            Self::BuildsWrite => "builds:write",
            Self::BuildsApprove => "builds:approve",
            Self::PluginsRead => "plugins:read",
            Self::PluginsWrite => "plugins:write",
            Self::PoliciesRead => "policies:read",
            Self::PoliciesWrite => "policies:write",
            Self::SecretsRead => "secrets:read",
            Self::SecretsWrite => "secrets:write",
        }
    }
}

// === impl Principal ===

impl Principal {
    pub fn require(&self, scope: Scope) -> Result<()> {
        if self.scopes.contains(&scope) {
            Ok(())
        } else {
            Err(Error::PermissionDenied {
                scope: scope.as_str(),
            })
        }
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| {
                let known: Vec<_> = Self::ALL.into_iter().map(Self::as_str).collect();
                format!("{text:?} is none of {}", known.join(", "))
            })
    }
}
