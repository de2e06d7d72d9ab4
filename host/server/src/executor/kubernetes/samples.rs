//! For tests: a configuration and a plan, with something of everything in them.

use std::{sync::Arc, time::Duration};

use ignite_core::{
    ids::{BuildId, ContextId, RunId},
    secrets::{GitHttpsLogin, GitLogin, RegistryLogin, RunSecrets, SecretText},
    spec::{ArgValue, GitSource},
};

use super::{KubernetesConfig, PodTemplate};
use crate::{
    executor::{Limits, RunPlan, RunSource, classes::ResourceClasses},
    sources::contexts::grants::ContextGrant,
};

/// Values that may stand in the Secret alone.
pub(super) const SECRETS: [&str; 6] = [
    "arg-value-hunter2",
    "mount-value-hunter3",
    "registry-password-hunter4",
    "git-password-hunter5",
    "context-token-hunter6",
    "operator-login-hunter7",
];

pub(super) fn secret(index: usize) -> SecretText {
    SecretText::new(SECRETS[index].to_owned())
}

pub(super) fn run() -> RunId {
    RunId {
        build: BuildId::new(1_748_390_400_000, 7),
        platform: 0,
        attempt: 2,
    }
}

pub(super) fn plain_config() -> KubernetesConfig {
    KubernetesConfig {
        kubeconfig: None,
        context: None,
        namespace: "ignite-builds".to_owned(),
        namespace_per_org: false,
        egress_allowed: Vec::new(),
        registries: vec!["registry.example.com".to_owned()],
        running_per_org_max: 4,
        fetch_image: "registry.example.com/ignite:1".to_owned(),
        kaniko_image: "registry.example.com/kaniko@sha256:00".to_owned(),
        gateway_url: "http://ignite.ignite.svc:8080/".parse().unwrap(),
        template: PodTemplate::default(),
        classes: Arc::new(ResourceClasses::within(Limits::default())),
        archive: Default::default(),
        git: Default::default(),
        git_ca: None,
        docker_config: None,
        registry_ca: None,
    }
}

/// As plain as it gets.
pub(super) fn archive_plan() -> RunPlan {
    let run = run();
    RunPlan {
        run,
        org: "acme".parse().unwrap(),
        source: RunSource::Archive {
            path: "/data/contexts/acme/ab".into(),
            sha256: ContextId::from_sha256([0xab; 32]).sha256_hex(),
        },
        dockerfile: "Dockerfile".to_owned(),
        kaniko_args: vec![
            "--context=dir:///kaniko/context".to_owned(),
            "--dockerfile=/kaniko/context/Dockerfile".to_owned(),
            "--digest-file=/kaniko/digest".to_owned(),
        ],
        build_args: Default::default(),
        secrets: RunSecrets::default(),
        timeout: Duration::from_secs(600),
        context_grant: Some(ContextGrant {
            url_path: format!("/internal/v1/runs/{run}/context"),
            token: secret(4),
        }),
        resource_class: None,
        gated: false,
    }
}

/// With everything that a plan and a configuration can have.
pub(super) fn full() -> (RunPlan, KubernetesConfig) {
    let mut plan = archive_plan();
    plan.source = RunSource::Git(GitSource {
        url: "https://git.example.com/acme/web".to_owned(),
        reference: "main".to_owned(),
        context_dir: String::new(),
    });
    plan.context_grant = None;
    plan.gated = true;
    plan.resource_class = Some("small".to_owned());
    plan.kaniko_args.push("--build-arg=TOKEN".to_owned());
    plan.kaniko_args
        .push("--destination=registry.example.com/acme/$(TOKEN):$1".to_owned());
    plan.build_args = [
        ("TOKEN", ArgValue::new(SECRETS[0].to_owned(), true)),
        ("USER", ArgValue::new("evil".to_owned(), false)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    plan.secrets = RunSecrets {
        registries: [(
            "registry.example.com".to_owned(),
            RegistryLogin {
                username: "me".to_owned(),
                password: secret(2),
            },
        )]
        .into(),
        git: Some(GitLogin {
            hosts: Vec::new(),
            https: Some(GitHttpsLogin {
                username: "me".to_owned(),
                password: secret(3),
            }),
            ssh: None,
        }),
        mounts: [("npm".to_owned(), secret(1))].into(),
    };
    let template = "nodeSelector: {pool: builds}\nruntimeClassName: gvisor\nimagePullSecrets: [{name: pull}]\n\
                    env: [{name: HTTPS_PROXY, value: 'http://proxy:3128'}]\nannotations: {sidecar.istio.io/inject: 'false'}\n";
    let config = KubernetesConfig {
        template: PodTemplate::parse(template).unwrap(),
        git_ca: Some("git authorities".to_owned()),
        registry_ca: Some("registry authorities".to_owned()),
        docker_config: Some(SecretText::new(format!(
            "{{\"auths\":{{\"other.example.com\":{{\"auth\":\"{}\"}}}}}}",
            SECRETS[5]
        ))),
        namespace_per_org: true,
        egress_allowed: vec!["10.9.0.0/16".to_owned()],
        ..plain_config()
    };
    (plan, config)
}
