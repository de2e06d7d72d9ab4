//! What the build gateway does: API, store, executors, log pipeline. The binary is `ignited`.
//!
//! Arrows run one way: [`app`] → [`api`] → [`service`], [`driver`] → [`logs`], [`outbox`],
//! [`sources`] → [`store`], [`executor`].

pub mod api;
pub mod app;
pub mod clock;
pub mod config;
pub mod driver;
pub mod error;
pub mod executor;
pub mod hooks;
pub mod logs;
pub mod maintenance;
pub mod metrics;
pub mod outbox;
pub mod plugins;
pub mod policies;
pub mod principal;
pub mod registry;
pub mod secrets;
pub mod service;
pub mod sources;
pub mod standby;
pub mod store;
mod unnamed;
pub mod unsaid;
pub mod vault;
