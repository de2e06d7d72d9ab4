//! The RPCs on a real store: limits, turns, repeated requests, pages, logs.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{TryStreamExt as _, future::join_all};
use ignite_core::{
    ids::BuildId,
    run::{EndCause, FetchReport},
};
use ignite_proto::v1::{self, BuildStatus, create_build_request::Source};

use crate::{
    driver::tests::{Scene, acme, eventually, joined, lost, principal, reason, request},
    error::{Error, Result},
    maintenance::{Maintenance, Retention},
};

mod expiry;
mod judged;
mod logs;
mod notifications;
mod requests;
mod secrets;
