//! Where the builds of a test run: on this machine, or as pods of the cluster. What a user sees must be the same.

use crate::{
    cluster::{Cluster, Namespace},
    context::Context,
    gateway::{Builder, Gateway},
    git_server::GitServer,
    registry::Registry,
};

/// A place for builds, and servers that builds find from there.
#[derive(Debug, Clone, Copy)]
pub enum Site<'a> {
    Machine,
    Pods {
        cluster: &'a Cluster,
        namespace: &'a Namespace<'a>,
    },
}

/// Makes of each test body, an `async fn` that takes a [`Site`], one test for each site.
#[macro_export]
macro_rules! at_each_site {
    ($($body:ident),* $(,)?) => {
        mod on_the_machine {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $body() {
                    super::$body($crate::site::Site::Machine).await;
                }
            )*
        }

        mod as_pods {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $body() {
                    let cluster = $crate::cluster::Cluster::shared();
                    let namespace = cluster.namespace("suite");
                    let site = $crate::site::Site::Pods {
                        cluster: &cluster,
                        namespace: &namespace,
                    };
                    super::$body(site).await;
                }
            )*
        }
    };
}

// === impl Site ===

impl Site<'_> {
    /// A gateway whose builds run here and push to [`Site::registry`].
    pub fn gateway(self) -> Builder {
        match self {
            Self::Machine => Gateway::builder(),
            // The node is small, and promises each pod all that it may use.
            Self::Pods { cluster, namespace } => Gateway::builder()
                .on_cluster(cluster, namespace.name())
                .setting("build_memory_bytes_max", "1GiB")
                .setting("build_cpu_millis_max", 600)
                .setting("build_disk_bytes_max", "4GiB"),
        }
    }

    /// The registry that most tests share: open to all, with the base images.
    pub fn registry(self) -> &'static Registry {
        match self {
            Self::Machine => Registry::shared(),
            Self::Pods { cluster, .. } => cluster.registry(),
        }
    }

    /// An address of this machine that builds reach.
    pub fn host(self) -> &'static str {
        match self {
            Self::Machine => "127.0.0.1",
            Self::Pods { cluster, .. } => cluster.host_address(),
        }
    }

    pub fn git_server(self) -> GitServer {
        GitServer::start_on(self.host())
    }

    /// A context of a Dockerfile that begins with a busybox of the shared registry.
    pub fn on_busybox(self, lines: &str) -> Context {
        Context::new(&format!("FROM {}\n{lines}\n", self.registry().busybox()))
    }
}
