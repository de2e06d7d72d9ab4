//! The chart and the plain manifests, as far as they can be looked at without a cluster.

use std::{fs, process::Command};

use ignite_tests::{
    command, paths,
    release::{CHART, helm},
};

/// Everything that a value can switch on.
const ALL: &str = r#"
tokensSecret: tokens
masterKeySecret: master-key
tlsSecret: tls
registrySecret: registry
authorities: {configMap: authorities, registry: true, git: true}
imagePullSecrets: [first, second]
config: {attempts_max: 7, build_memory_bytes_max: 4000000000, registry_mirrors: [a.example.com, b.example.com]}
builds:
  namespacePerOrg: true
  networkPolicy: {allow: [{cidr: 10.1.2.0/24, port: 443}, {cidr: 10.1.3.0/24}]}
  podTemplate: {nodeSelector: {builds: "true"}, env: [{name: HTTPS_PROXY, value: "http://proxy.example.com"}]}
  resourceClasses: |
    default = "small"
    [small]
    cpu_millis = 500
    memory = "1GiB"
    disk = "5GiB"
metrics: {serviceMonitor: {enabled: true, labels: {release: prometheus}}}
networkPolicy: {from: [{namespaceSelector: {}}], metricsFrom: [{namespaceSelector: {}}]}
persistence: {existingClaim: data}
standby: {enabled: true}
nodeSelector: {gateway: "true"}
tolerations: [{key: gateway, operator: Exists}]
affinity: {nodeAffinity: {}}
podLabels: {team: platform}
podAnnotations: {team: platform}
extraEnv: [{name: HTTPS_PROXY, value: "http://proxy.example.com"}]
priorityClassName: system-cluster-critical
serviceAccount: {annotations: {team: platform}}
service: {annotations: {team: platform}}
"#;

/// What the chart makes of these values, by `helm template`.
fn rendered(values: &str) -> String {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("values.yaml");
    fs::write(&file, values).unwrap();
    command::run(
        helm(home.path())
            .args(["template", "ignite", CHART, "--namespace", "ignite", "--values"])
            .arg(file),
    )
}

/// The lines of a file in a rendered ConfigMap, if it has one.
fn embedded(rendered: &str, name: &str) -> Option<String> {
    let (_, rest) = rendered.split_once(&format!("  {name}: |\n"))?;
    let lines = rest.lines().map_while(|line| line.strip_prefix("    "));
    Some(lines.map(|line| format!("{line}\n")).collect())
}

#[test]
fn helm_finds_nothing_wrong() {
    let home = tempfile::tempdir().unwrap();
    let all = home.path().join("all.yaml");
    fs::write(&all, ALL).unwrap();
    command::run(helm(home.path()).args(["lint", "--strict", CHART]));
    command::run(
        helm(home.path())
            .args(["lint", "--strict", CHART, "--values"])
            .arg(all),
    );
}

#[test]
fn the_plain_manifests_are_the_charts() {
    let fresh = command::run(&mut Command::new(
        paths::repository().join("deploy/manifests/render.sh"),
    ));
    let kept = fs::read_to_string(paths::repository().join("deploy/manifests/ignite.yaml")).unwrap();
    assert!(
        fresh == kept,
        "deploy/manifests is out of date: run `make manifests`"
    );
}

#[test]
fn what_the_chart_sets_itself_is_refused_as_a_setting() {
    let home = tempfile::tempdir().unwrap();
    for setting in ["data_dir", "executor", "kubernetes_namespace", "tls_cert"] {
        let output = command::output(helm(home.path()).args([
            "template",
            "ignite",
            CHART,
            "--set",
            &format!("config.{setting}=x"),
        ]));
        assert!(!output.status.success(), "{setting} was taken");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains(&format!("config.{setting}: the chart sets this itself")),
            "{said}"
        );
    }
}

#[test]
fn the_daemon_takes_every_setting_that_the_chart_writes() {
    for values in ["", ALL] {
        let folder = tempfile::tempdir().unwrap();
        let rendered = rendered(values);
        let config = embedded(&rendered, "ignited.toml").unwrap();
        assert!(config.contains("executor = \"kubernetes\""), "{config}");
        // The paths are those of the pod; here they are below a folder.
        let here = folder.path().display().to_string();
        let config = config
            .replace("\"/etc/", &format!("\"{here}/etc/"))
            .replace("\"/var/", &format!("\"{here}/var/"));
        let beside = folder.path().join("etc/ignite/config");
        fs::create_dir_all(&beside).unwrap();
        for name in ["pod-template.yaml", "resource-classes.toml"] {
            if let Some(text) = embedded(&rendered, name) {
                fs::write(beside.join(name), text).unwrap();
            }
        }
        let file = folder.path().join("ignited.toml");
        fs::write(&file, config).unwrap();
        let output = command::output(
            Command::new(paths::binary("ignited"))
                .args(["config", "check", "--config"])
                .arg(&file)
                .env_clear(),
        );
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
