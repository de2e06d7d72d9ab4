//! The git server of the unit tests.

pub(crate) const USER: &str = "oauth2";
pub(crate) const PASSWORD: &str = "glpat hunter2/+:%";

#[path = "../../src/sources/git/tests/server.rs"]
pub(crate) mod server;
