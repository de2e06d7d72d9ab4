//! Drives Kaniko: its command line, what its log tells, how its end is to be read.

mod classify;
mod command;
mod line;
mod log;
mod verdict;

#[cfg(test)]
mod tests;

pub use classify::classify;
pub use command::{
    CACHE_REPOSITORY, CommandPlan, ENVIRONMENT, cache_repository, image_refs, is_reserved_env,
};
pub use log::LogReader;
pub use verdict::{Facts, Verdict, not_pushed};
