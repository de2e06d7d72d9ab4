//! What the build gateway does: API, store, executors, log pipeline. The binary is `ignited`.
//!
//! Arrows run one way: [`app`] → [`api`] → [`service`], [`driver`] → [`logs`], [`sources`] → [`store`], [`executor`].

pub mod clock;
pub mod error;
pub mod principal;
pub mod store;
pub mod vault;
