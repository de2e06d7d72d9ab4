//! Every change of a namespace's pods, in the order in which the API server tells of them.

use std::{
    fs,
    process::{Child, Stdio},
    time::Duration,
};

use serde_json::Value;

use super::{Namespace, kubectl};
use crate::wait::eventually_blocking;

/// Notes what happens to the pods of a namespace that has none yet.
#[derive(Debug)]
pub struct PodWatch {
    kubectl: Child,
    seen: tempfile::NamedTempFile,
}

/// What became of a pod.
#[derive(Debug)]
pub struct PodChange {
    pub is_gone: bool,
    pub pod: Value,
}

const START_DEADLINE: Duration = Duration::from_secs(20);

// === impl PodWatch ===

impl PodWatch {
    pub fn start(namespace: &Namespace<'_>) -> Self {
        let seen = tempfile::NamedTempFile::new().unwrap();
        let said = tempfile::NamedTempFile::new().unwrap();
        let kubectl = kubectl()
            .args(["get", "pods", "--watch", "--output-watch-events", "--output=json"])
            .args(["--namespace", namespace.name(), "--v=6"])
            .stdout(Stdio::from(seen.reopen().unwrap()))
            .stderr(Stdio::from(said.reopen().unwrap()))
            .spawn()
            .unwrap();
        eventually_blocking("the watch to begin", START_DEADLINE, || {
            let text = fs::read_to_string(said.path()).unwrap();
            text.contains("watch=true").then_some(())
        });
        Self { kubectl, seen }
    }

    /// All that was told until now.
    pub fn changes(&self) -> Vec<PodChange> {
        let text = fs::read(self.seen.path()).unwrap();
        let events = serde_json::Deserializer::from_slice(&text).into_iter::<Value>();
        // The last one may not be whole yet.
        let whole = events.map_while(Result::ok);
        whole
            .map(|mut event| PodChange {
                is_gone: event["type"] == "DELETED",
                pod: event["object"].take(),
            })
            .collect()
    }
}

impl Drop for PodWatch {
    fn drop(&mut self) {
        let _gone_already = self.kubectl.kill();
        let _reaped = self.kubectl.wait();
    }
}

// === impl PodChange ===

impl PodChange {
    pub fn name(&self) -> &str {
        self.pod["metadata"]["name"].as_str().unwrap()
    }

    /// Nothing of it runs any more, or ever will.
    pub fn is_over(&self) -> bool {
        let phase = self.pod["status"]["phase"].as_str();
        self.is_gone || matches!(phase, Some("Succeeded" | "Failed"))
    }
}
