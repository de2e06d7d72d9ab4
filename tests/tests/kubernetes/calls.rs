//! Counts the calls of one client to the API server, by a proxy between.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::Duration,
};

use ignite_tests::{cluster::Cluster, paths, wait::eventually_blocking};

/// `kubectl proxy`, which logs each call.
pub(super) struct Calls {
    proxy: Child,
    folder: tempfile::TempDir,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Count {
    /// By verb and kind of path.
    pub(super) by_kind: BTreeMap<String, usize>,
}

// === impl Calls ===

impl Calls {
    pub(super) fn of(cluster: &Cluster) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let log = File::create(folder.path().join("log")).unwrap();
        let kubectl = format!("{}/kubectl", paths::made_by_setup("KUBERNETES"));
        let proxy = Command::new(kubectl)
            .arg("--kubeconfig")
            .arg(cluster.kubeconfig())
            .args([
                "proxy",
                "--port",
                &port.to_string(),
                "--reject-methods=^$",
                "--v=6",
            ])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let kubeconfig = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:{port}'}}}}]\n\
             users: [{{name: u, user: {{}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n"
        );
        fs::write(folder.path().join("config"), kubeconfig).unwrap();
        let calls = Self { proxy, folder };
        eventually_blocking("the proxy to listen", Duration::from_secs(20), || {
            fs::read_to_string(calls.folder.path().join("log"))
                .unwrap()
                .contains("Starting to serve")
                .then_some(())
        });
        calls
    }

    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("config")
    }

    pub(super) fn count(&self) -> Count {
        Count::of(&self.folder.path().join("log"))
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        let _gone_already = self.proxy.kill();
        let _reaped = self.proxy.wait();
    }
}

// === impl Count ===

impl Count {
    fn of(log: &Path) -> Self {
        let mut count = Self::default();
        for line in fs::read_to_string(log).unwrap().lines() {
            let field = |name: &str| {
                let (_, rest) = line.split_once(&format!("{name}=\""))?;
                rest.split('"').next()
            };
            let (Some(verb), Some(url)) = (field("verb"), field("url")) else {
                continue;
            };
            if line.contains("Response") {
                *count.by_kind.entry(format!("{verb} {}", kind(url))).or_default() += 1;
            }
        }
        count
    }

    pub(super) fn since(&self, before: &Self) -> Self {
        let rest = self.by_kind.iter().map(|(kind, count)| {
            let before = before.by_kind.get(kind).copied().unwrap_or_default();
            (kind.clone(), count - before)
        });
        Self {
            by_kind: rest.filter(|(_, count)| *count > 0).collect(),
        }
    }
}

/// The path without the names of runs, and whether it watches.
fn kind(url: &str) -> String {
    let path = url.split_once("/api/").map_or(url, |(_, path)| path);
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let parts: Vec<&str> = path
        .split('/')
        .map(|part| if part.starts_with("bld-") { "RUN" } else { part })
        .collect();
    let watches = if query.contains("watch=true") {
        "?watch=true"
    } else {
        ""
    };
    format!("{}{watches}", parts.join("/"))
}
