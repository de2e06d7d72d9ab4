//! The Kubernetes executor with all that it needs around it, in a namespace of its own.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ignite_core::{
    ids::{BuildId, RunId},
    secrets::SecretText,
};
use ignite_server::{
    executor::{
        Executor, Limits, RunPlan, RunSource,
        classes::ResourceClasses,
        conformance::{self, Fixture},
        kubernetes::{KubernetesConfig, KubernetesExecutor, PodTemplate},
    },
    sources::contexts::grants::ContextGrant,
};
use ignite_tests::{cluster::Cluster, context::Context};
use sha2::{Digest as _, Sha256};

use super::contexts::Contexts;

static NEXT_RUN: AtomicU64 = AtomicU64::new(0);

pub(super) struct Pods {
    pub(super) cluster: Cluster,
    pub(super) config: KubernetesConfig,
    pub(super) executor: Arc<KubernetesExecutor>,
    contexts: Contexts,
}

// === impl Pods ===

impl Pods {
    pub(super) async fn start() -> Self {
        let cluster = Cluster::shared();
        let namespace = format!(
            "executor-{}-{}",
            std::process::id(),
            NEXT_RUN.fetch_add(1, Ordering::Relaxed)
        );
        let contexts = Contexts::default();
        let limits = Limits {
            memory_bytes: 96 << 20,
            cpu_millis: 1000,
            disk_bytes: 256 << 20,
            pids: 512,
        };
        let config = KubernetesConfig {
            kubeconfig: Some(cluster.kubeconfig().to_owned()),
            context: None,
            namespace,
            namespace_per_org: false,
            egress_allowed: Vec::new(),
            registries: Vec::new(),
            running_per_org_max: 4,
            fetch_image: cluster.fetch_image().to_owned(),
            kaniko_image: cluster.kaniko_image().to_owned(),
            gateway_url: contexts.serve(cluster.host_address()).parse().unwrap(),
            template: PodTemplate::default(),
            classes: Arc::new(ResourceClasses::only(limits)),
            archive: Default::default(),
            git: Default::default(),
            git_ca: None,
            docker_config: None,
            registry_ca: None,
        };
        // Last: what fails before leaves none behind.
        cluster.kubectl(&["create", "namespace", &config.namespace]);
        Self {
            cluster,
            executor: Arc::new(KubernetesExecutor::new(config.clone()).await.unwrap()),
            config,
            contexts,
        }
    }

    pub(super) fn kubectl(&self, arguments: &[&str]) -> String {
        let namespace = ["--namespace", &self.config.namespace];
        self.cluster.kubectl(&[&namespace, arguments].concat())
    }

    fn reference(&self, run: RunId) -> String {
        format!("{}/conformance/{run}:latest", self.cluster.registry().address())
    }
}

impl Drop for Pods {
    fn drop(&mut self) {
        let pods = self.kubectl(&["get", "pods", "--output", "name"]);
        for pod in pods.lines() {
            // It may go by itself meanwhile.
            let released = r#"{"metadata":{"finalizers":null}}"#;
            let namespace = self.config.namespace.as_str();
            let _gone_already = self.cluster.try_kubectl(&[
                "--namespace",
                namespace,
                "patch",
                pod,
                "--type",
                "merge",
                "--patch",
                released,
            ]);
        }
        self.cluster
            .kubectl(&["delete", "namespace", "--wait=false", &self.config.namespace]);
    }
}

#[async_trait::async_trait]
impl Fixture for Pods {
    fn executor(&self) -> Arc<dyn Executor> {
        Arc::clone(&self.executor) as Arc<dyn Executor>
    }

    async fn restarted(&self) -> Arc<dyn Executor> {
        Arc::new(KubernetesExecutor::new(self.config.clone()).await.unwrap())
    }

    async fn plan(&self, dockerfile: &str) -> RunPlan {
        let count = NEXT_RUN.fetch_add(1, Ordering::Relaxed);
        let random = u128::from(std::process::id()) << 32 | u128::from(count);
        let run = RunId {
            build: BuildId::new(1_700_000_000_000, random),
            platform: 0,
            attempt: 1,
        };
        let context = Context::new(dockerfile).busybox().tar_gz();
        let sha256 = hex::encode(Sha256::digest(&context));
        let url_path = format!("/{run}");
        self.contexts.put(&url_path, context);
        RunPlan {
            run,
            org: "acme".parse().unwrap(),
            source: RunSource::Archive {
                path: "/nowhere".into(),
                sha256,
            },
            dockerfile: "Dockerfile".to_owned(),
            kaniko_args: conformance::kaniko_args(&self.reference(run)),
            build_args: Default::default(),
            secrets: Default::default(),
            timeout: Duration::from_secs(100),
            context_grant: Some(ContextGrant {
                url_path,
                token: SecretText::new("anybody".to_owned()),
            }),
            resource_class: None,
            gated: false,
        }
    }

    fn withhold_source(&self, plan: &mut RunPlan) {
        if let Some(grant) = &mut plan.context_grant {
            grant.url_path.push_str("-missing");
        }
    }

    async fn lose(&self, run: RunId) {
        self.kubectl(&[
            "delete",
            "pod",
            "--wait=false",
            "--grace-period=0",
            "--force",
            &run.to_string(),
        ]);
    }

    async fn pushed(&self, plan: &RunPlan) -> Option<String> {
        let (registry, reference) = (self.cluster.registry(), self.reference(plan.run));
        registry.has(&reference).then(|| registry.digest(&reference))
    }

    async fn processes(&self, run: RunId) -> usize {
        let hostname = format!("HOSTNAME={run}");
        let processes = fs::read_dir("/proc").unwrap().flatten();
        processes
            .filter(|process| {
                let environment = fs::read(process.path().join("environ")).unwrap_or_default();
                let mut variables = environment.split(|byte| *byte == 0);
                variables.any(|variable| variable == hostname.as_bytes())
            })
            .count()
    }
}
