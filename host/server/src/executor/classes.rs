//! Resource classes: how much a build may use, chosen by its label [`RESOURCES_LABEL`], which a request or a
//! policy's patch sets.
//!
//! ```toml
//! default = "medium"
//!
//! [small]
//! cpu_millis = 500
//! memory = "1GiB"
//! disk = "5GiB"
//!
//! [medium]
//! cpu_millis = 1000
//! memory = "2GiB"
//! disk = "10GiB"
//! memory_request = "1GiB"
//! ```
//!
//! What is requested, and so kept free for the build on its node, is half the memory and a quarter of cpu and disk unless a class
//! says otherwise.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use bytesize::ByteSize;
use ignite_core::request::RESOURCES_LABEL;
use serde::Deserialize;

use super::Limits;

/// What builds may use, by the class that they ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceClasses {
    /// Of builds that name no class.
    default: ResourceClass,
    named: BTreeMap<String, ResourceClass>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceClass {
    pub limits: Limits,
    pub requests: Requests,
}

/// What is kept free for a build on its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requests {
    pub memory_bytes: u64,
    /// Thousandths of a core.
    pub cpu_millis: u64,
    pub disk_bytes: u64,
}

/// Why a file of classes cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClassesError {
    #[error("{path:?} cannot be read")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("is not a table of resource classes: {0}")]
    Form(String),
    #[error("class {class}: {problem}")]
    Class { class: String, problem: String },
}

#[derive(Debug, Deserialize)]
struct File {
    default: Option<String>,
    #[serde(flatten)]
    classes: BTreeMap<String, Row>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    cpu_millis: u64,
    memory: ByteSize,
    disk: ByteSize,
    cpu_millis_request: Option<u64>,
    memory_request: Option<ByteSize>,
    disk_request: Option<ByteSize>,
}

// === impl ResourceClasses ===

impl ResourceClasses {
    /// `small`, `medium` and `large`: a quarter, half and all of what a build may use, which is also what one gets that names none.
    pub fn within(max: Limits) -> Self {
        let share = |parts: u64| {
            ResourceClass::of(Limits {
                memory_bytes: (max.memory_bytes / parts).max(1),
                cpu_millis: (max.cpu_millis / parts).max(1),
                disk_bytes: (max.disk_bytes / parts).max(1),
                pids: max.pids,
            })
        };
        let named = [("small", 4), ("medium", 2), ("large", 1)];
        Self {
            default: ResourceClass::of(max),
            named: named.map(|(name, parts)| (name.to_owned(), share(parts))).into(),
        }
    }

    /// Nothing but what every build may use.
    pub fn only(limits: Limits) -> Self {
        Self {
            default: ResourceClass::of(limits),
            named: BTreeMap::new(),
        }
    }

    /// # Errors
    /// If the file cannot be read, or is not what the module says, or a class is above `max`.
    pub fn load(path: &Path, max: Limits) -> Result<Self, ClassesError> {
        let text = fs::read_to_string(path).map_err(|source| ClassesError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, max)
    }

    fn parse(text: &str, max: Limits) -> Result<Self, ClassesError> {
        let file: File =
            toml::from_str(text).map_err(|error| ClassesError::Form(error.message().to_owned()))?;
        let mut named = BTreeMap::new();
        for (name, row) in file.classes {
            let class = row.class(max).map_err(|problem| ClassesError::Class {
                class: name.clone(),
                problem,
            })?;
            named.insert(name, class);
        }
        let default = match file.default {
            None => ResourceClass::of(max),
            Some(name) => *named.get(&name).ok_or_else(|| ClassesError::Class {
                class: name,
                problem: "is the default and is not there".to_owned(),
            })?,
        };
        Ok(Self { default, named })
    }

    /// The class of this name; the default for none, and for one that is not there any more.
    pub fn get(&self, name: Option<&str>) -> ResourceClass {
        name.and_then(|name| self.named.get(name))
            .copied()
            .unwrap_or(self.default)
    }

    /// The most that any class has, of each kind.
    pub fn most(&self) -> Limits {
        let all = || std::iter::once(&self.default).chain(self.named.values());
        let most = |of: fn(&Limits) -> u64| all().map(|class| of(&class.limits)).max().unwrap_or_default();
        Limits {
            memory_bytes: most(|limits| limits.memory_bytes),
            cpu_millis: most(|limits| limits.cpu_millis),
            disk_bytes: most(|limits| limits.disk_bytes),
            pids: most(|limits| limits.pids),
        }
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.named.keys().map(String::as_str)
    }

    /// The class that labels ask for.
    pub fn asked(labels: &BTreeMap<String, String>) -> Option<&str> {
        labels.get(RESOURCES_LABEL).map(String::as_str)
    }
}

// === impl ResourceClass ===

impl ResourceClass {
    fn of(limits: Limits) -> Self {
        Self {
            limits,
            requests: Requests {
                memory_bytes: limits.memory_bytes / 2,
                cpu_millis: limits.cpu_millis / 4,
                disk_bytes: limits.disk_bytes / 4,
            },
        }
    }
}

// === impl Row ===

impl Row {
    fn class(&self, max: Limits) -> Result<ResourceClass, String> {
        let limits = Limits {
            memory_bytes: self.memory.as_u64(),
            cpu_millis: self.cpu_millis,
            disk_bytes: self.disk.as_u64(),
            pids: max.pids,
        };
        let usual = ResourceClass::of(limits).requests;
        let requests = Requests {
            memory_bytes: self
                .memory_request
                .map_or(usual.memory_bytes, |size| size.as_u64()),
            cpu_millis: self.cpu_millis_request.unwrap_or(usual.cpu_millis),
            disk_bytes: self.disk_request.map_or(usual.disk_bytes, |size| size.as_u64()),
        };
        let bounds = [
            (
                "memory",
                "build_memory_bytes_max",
                requests.memory_bytes,
                limits.memory_bytes,
                max.memory_bytes,
            ),
            (
                "cpu_millis",
                "build_cpu_millis_max",
                requests.cpu_millis,
                limits.cpu_millis,
                max.cpu_millis,
            ),
            (
                "disk",
                "build_disk_bytes_max",
                requests.disk_bytes,
                limits.disk_bytes,
                max.disk_bytes,
            ),
        ];
        for (field, setting, request, limit, most) in bounds {
            if limit == 0 || limit > most {
                return Err(format!(
                    "{field} must be above 0 and at most what {setting} says, {most}"
                ));
            }
            if request > limit {
                return Err(format!("{field}_request is above {field}"));
            }
        }
        Ok(ResourceClass { limits, requests })
    }
}

#[cfg(test)]
mod tests;
