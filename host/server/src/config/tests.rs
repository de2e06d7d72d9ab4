use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    time::Duration,
};

use super::{Config, Sources, settings::SETTINGS};

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ignited.toml");
    fs::write(&path, text).unwrap();
    (directory, path)
}

#[test]
fn nothing_needs_to_be_set() {
    let config = Config::load(Sources::default()).unwrap();
    assert_eq!(config.tokens_file, PathBuf::from("ignite-data/tokens.toml"));
    assert_eq!(config.build_timeout_default, Duration::from_secs(1800));
    assert!(config.user_namespace.is_some());
    assert!(config.tls.is_none());
}

#[test]
fn flags_win_over_the_environment_over_the_file_over_defaults() {
    let (_directory, path) = file("listen = '127.0.0.1:1'\nattempts_max = 7\nregistry_insecure = true\n");
    let sources = Sources {
        file: Some(path),
        environment: map(&[
            ("IGNITED_LISTEN", "127.0.0.1:2"),
            ("IGNITED_REGISTRY", "registry:5000"),
            ("HOME", "/"),
        ]),
        flags: map(&[("listen", "127.0.0.1:3")]),
    };
    let config = Config::load(sources).unwrap();
    assert_eq!(config.listen.port(), 3);
    assert_eq!(config.registry.host, "registry:5000");
    assert_eq!(config.registry.insecure, ["registry:5000"]);
    assert_eq!(config.retry.attempts_max, 7);
}

#[test]
fn all_that_is_wrong_is_told_at_once_with_where_it_came_from() {
    let (_directory, path) = file("lissten = 'x'\nbuild_timeout_max = '1s'\n");
    let sources = Sources {
        file: Some(path),
        environment: map(&[("IGNITED_ATTEMPTS_MAX", "many"), ("IGNITED_NO_SUCH", "1")]),
        flags: map(&[("registry", "https://registry/"), ("tls_key", "key.pem")]),
    };
    let errors = Config::load(sources).unwrap_err();
    let text = errors
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n");
    for expected in [
        "did you mean listen?",
        "no_such (from IGNITED_NO_SUCH): is no setting",
        "attempts_max (from IGNITED_ATTEMPTS_MAX): \"many\" is not a whole number",
        "registry (from --registry): \"https://registry/\" is not the host[:port]",
        "goes with tls_key",
        "must not be above build_timeout_max",
    ] {
        assert!(text.contains(expected), "{expected:?} is missing in:\n{text}");
    }
}

/// Whichever is read first, none hides another.
#[test]
fn every_setting_that_is_checked_is_told_when_all_are_wrong() {
    let free = [
        "data_dir",
        "tls_cert",
        "tls_key",
        "tokens_file",
        "master_key_file",
        "registry_docker_config",
        "git_ca_file",
        "registry_ca_file",
        "kaniko",
        "kubernetes_context",
        "kubernetes_fetch_image",
        "kubernetes_kaniko_image",
        "kubernetes_kubeconfig",
        "kubernetes_pod_template",
        "kubernetes_resource_classes",
        "runtime",
        "policy_dir",
    ];
    let wrong: BTreeMap<String, String> = SETTINGS
        .iter()
        .filter(|setting| !free.contains(&setting.name))
        .map(|setting| (setting.name.to_owned(), "?!=".to_owned()))
        .collect();
    let errors = Config::load(Sources {
        flags: wrong.clone(),
        ..Sources::default()
    })
    .unwrap_err();
    let told: BTreeSet<String> = errors.into_iter().map(|error| error.setting).collect();
    assert_eq!(told, wrong.into_keys().collect());
}

#[test]
fn the_master_key_comes_from_one_place_and_is_never_told() {
    const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    let from = |key: Option<&str>, file: Option<&str>| Sources {
        environment: key
            .map(|key| ("IGNITED_MASTER_KEY".to_owned(), key.to_owned()))
            .into_iter()
            .collect(),
        flags: file
            .map(|file| ("master_key_file".to_owned(), file.to_owned()))
            .into_iter()
            .collect(),
        ..Sources::default()
    };
    let source = |sources| Config::load(sources).map(|config| config.master_key.to_string());
    assert_eq!(
        source(from(None, None)).unwrap(),
        "the master key ignite-data/master.key"
    );
    assert_eq!(source(from(None, Some("k"))).unwrap(), "the master key k");
    assert_eq!(
        source(from(Some(KEY), None)).unwrap(),
        "the master key in IGNITED_MASTER_KEY"
    );
    for (key, file, expected) in [
        (KEY, Some("k"), "is there beside master_key_file: set one of them"),
        ("", None, "is empty: set a key, or leave it unset"),
    ] {
        let errors = source(from(Some(key), file)).unwrap_err();
        let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            text,
            [format!("the master key (from IGNITED_MASTER_KEY): {expected}")]
        );
    }
    let sources = from(Some(KEY), None);
    assert!(!format!("{sources:?}").contains(KEY));
    assert!(!format!("{:?}", sources.clone().effective()).contains(KEY));
    assert!(!format!("{:?}", Config::load(sources).unwrap()).contains(KEY));
}

#[test]
fn nothing_can_be_limited_to_nothing() {
    for name in [
        "build_cpu_millis_max",
        "build_pids_max",
        "build_timeout_default",
        "build_timeout_max",
        "builds_running_max",
        "builds_running_per_org_max",
        "queue_per_org_max",
        "attempts_max",
        "plugin_calls_max",
        "plugin_compile_timeout",
    ] {
        let zero = if name.contains("timeout") { "0s" } else { "0" };
        let errors = Config::load(Sources {
            flags: map(&[(name, zero)]),
            ..Sources::default()
        })
        .unwrap_err();
        assert!(errors.iter().any(|error| error.setting == name), "{name}");
    }
}

#[test]
fn a_file_that_is_not_there_is_an_error() {
    let sources = Sources {
        file: Some("/no/such/file".into()),
        ..Sources::default()
    };
    assert!(
        Config::load(sources).unwrap_err()[0]
            .to_string()
            .contains("cannot be read")
    );
}

#[test]
fn builds_on_kubernetes_need_to_be_told_of_images_and_the_way_back() {
    let load = |flags: &[(&str, &str)]| {
        Config::load(Sources {
            flags: map(flags),
            ..Sources::default()
        })
    };
    assert!(load(&[]).unwrap().kubernetes.is_none());
    let errors = load(&[("executor", "kubernetes")]).unwrap_err();
    let told: Vec<_> = errors.iter().map(|error| error.setting.as_str()).collect();
    let needed = [
        "kubernetes_fetch_image",
        "kubernetes_kaniko_image",
        "kubernetes_gateway_url",
    ];
    assert_eq!(told, needed);
    let set = [
        ("executor", "kubernetes"),
        ("kubernetes_fetch_image", "ignite:1"),
        ("kubernetes_kaniko_image", "kaniko:1"),
        ("kubernetes_gateway_url", "http://ignite.ignite.svc:8080"),
        ("kubernetes_egress_allowed", "10.0.0.0/8,fd00::/8"),
    ];
    let settings = load(&set).unwrap().kubernetes.unwrap();
    assert_eq!(settings.egress_allowed, ["10.0.0.0/8", "fd00::/8"]);
    assert_eq!(settings.namespace, "ignite-builds");
    for (name, wrong) in [
        ("kubernetes_namespace", "Builds"),
        ("kubernetes_egress_allowed", "10.0.0.0/33"),
        ("kubernetes_gateway_url", "http://me:secret@ignite/"),
    ] {
        let errors = load(&[set.as_slice(), &[(name, wrong)]].concat()).unwrap_err();
        assert_eq!(errors[0].setting, name);
    }
}
