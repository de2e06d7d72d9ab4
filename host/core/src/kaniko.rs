//! Drives Kaniko: its command line, what its log tells, how its end is to be read.

mod classify;
mod command;
mod line;
mod log;
mod logins;
mod mounts;
mod verdict;

#[cfg(test)]
mod tests;

pub use classify::classify;
pub use command::{
    CACHE_REPOSITORY, CommandPlan, ENVIRONMENT, cache_repository, image_refs, is_reserved_env,
};
pub use log::LogReader;
pub use logins::{DOCKER_HUB, NotDockerConfig, docker_config, registry_host};
pub use mounts::{SECRET_ENV_PREFIX, is_mount_name, secret_mounts};
pub use verdict::{Facts, Verdict, not_pushed};
