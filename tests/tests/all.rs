//! All end-to-end tests: one binary, a folder for each RPC.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what does not hold fails the test"
)]

mod environment {
    mod git_server;
    mod registry;
}

mod kubernetes {
    mod builds;
    mod calls;
    mod chart;
    mod cluster;
    mod crowd;
    mod deploy;
    mod executor;
    mod faults;
    mod planted;
    mod rights;
    mod standby;
}

mod create_build {
    mod archives;
    mod arguments;
    mod cache;
    mod contents;
    mod durability;
    mod forgeries;
    mod git;
    mod idempotency;
    mod ignored;
    mod images;
    mod limits;
    mod measures;
    mod refusals;
    mod user_failures;
}

mod get_build {
    mod access;
}

mod list_builds {
    mod pages;
}

mod stream_build_logs {
    mod followers;
    mod positions;
}

mod cancel_build {
    mod cancel;
}

mod upload_build_context {
    mod large;
    mod memory;
    mod upload;
}

mod watch_build {
    mod watch;
}

mod retry_build {
    mod retry;
}

mod save_build_secrets {
    mod builds;
    mod logins;
}

mod policy {
    mod in_force;
    mod samples;
}

mod operator {
    mod backup;
    mod configuration;
    mod daemon_log;
    mod guide;
    mod metrics;
    mod outbox;
}

mod secrets {
    mod logins;
    mod others;
    mod planted;
    mod scene;
}

mod restart {
    mod kill;
    mod terminate;
}

mod transports {
    mod grpcurl;
    mod http;
    mod python;
}

mod client {
    mod ignite;
}
