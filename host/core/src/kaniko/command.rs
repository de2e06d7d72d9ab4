//! Kaniko's command line and environment, the same for every executor.

use super::mounts::SECRET_ENV_PREFIX;
use crate::{
    ids::OrgId,
    spec::{BuildSpec, Source},
};

/// Name of the repository, in each organization, that layers are cached in. No image may have it.
///
/// One for each organization: who can write to a shared cache can put layers into other people's images.
pub const CACHE_REPOSITORY: &str = "cache";

/// What Kaniko's environment must hold besides the build args.
///
/// `USER`: without it a `COPY` fails on images that have no `/etc/passwd`. The flags are those whose default changes from
/// one release to the next; set, they mean the same to each.
pub const ENVIRONMENT: [(&str, &str); 10] = [
    ("USER", "root"),
    ("HOME", "/root"),
    ("FF_KANIKO_BUILDKIT_ARG_ENV_PRECEDENCE", "true"),
    ("FF_KANIKO_CACHE_LOOKAHEAD", "false"),
    ("FF_KANIKO_CACHE_PROBE_AFTER_MISS", "false"),
    ("FF_KANIKO_NO_PROPAGATE_ANNOTATIONS", "true"),
    ("FF_KANIKO_PRESERVE_HARDLINKS", "true"),
    ("FF_KANIKO_RUN_MOUNT_BIND", "true"),
    // Its helper binary is not in every image of Kaniko.
    ("FF_KANIKO_RUN_VIA_TINI", "false"),
    ("FF_KANIKO_VOLUME_SKIP_MKDIR", "true"),
];

/// What the command line is made from.
#[derive(Debug, Clone, Copy)]
pub struct CommandPlan<'a> {
    pub spec: &'a BuildSpec,
    pub org: &'a OrgId,
    /// Host and optional port.
    pub registry: &'a str,
    /// Where the fetch step puts the source, absolute, as Kaniko sees it: the whole repository of a git source.
    pub workspace: &'a str,
    /// Where Kaniko writes the digest, absolute, as Kaniko sees it.
    pub digest_file: &'a str,
    /// Registries that are spoken to over plain http.
    pub insecure_registries: &'a [String],
    /// Tried in order before Docker Hub.
    pub registry_mirrors: &'a [String],
    /// The operator's own, last, so that they win.
    pub extra_args: &'a [String],
}

/// References the image is pushed to, in the order of the tags: `<registry>/<org>/<name>:<tag>`.
pub fn image_refs(registry: &str, org: &OrgId, name: &str, tags: &[String]) -> Vec<String> {
    tags.iter()
        .map(|tag| format!("{registry}/{org}/{name}:{tag}"))
        .collect()
}

pub fn cache_repository(registry: &str, org: &OrgId) -> String {
    format!("{registry}/{org}/{CACHE_REPOSITORY}")
}

/// Whether Kaniko, or the Go runtime and libraries in it, read an environment variable of this name.
///
/// Build args reach Kaniko by its environment, so one of such a name would steer Kaniko itself.
pub fn is_reserved_env(name: &str) -> bool {
    const PREFIXES: [&str; 4] = ["KANIKO_", "FF_KANIKO_", SECRET_ENV_PREFIX, "XDG_"];
    const NAMES: [&str; 19] = [
        "BENCHMARK_FILE",
        "BUILDER_OUTPUT",
        "DOCKER_AUTH_CONFIG",
        "DOCKER_CONFIG",
        "GODEBUG",
        "GOGC",
        "GOMAXPROCS",
        "GOMEMLIMIT",
        "GOTRACEBACK",
        "HOME",
        "PATH",
        "REGISTRY_AUTH_FILE",
        "SNAPSHOT_TIMEOUT_DURATION",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        "STACKLOG_PATH",
        "TMPDIR",
        "UPSTREAM_CLIENT_TYPE",
        "container",
    ];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || NAMES.contains(&name)
}

impl CommandPlan<'_> {
    /// The arguments of Kaniko's executor, without the program. Each is one `--flag=value`; none holds the value of a build arg.
    pub fn args(&self) -> Vec<String> {
        let mut args = self.source_args();
        args.extend(self.image_args());
        args.extend(
            [
                "--push-retry=3",
                "--image-download-retry=3",
                "--image-fs-extract-retry=2",
                // Compressing layers in memory is what most often runs out of it.
                "--compressed-caching=false",
                "--snapshot-mode=redo",
                "--log-format=text",
                // A file that only some virtual machines show; reading it fails there.
                "--ignore-path=/product_uuid",
            ]
            .map(str::to_owned),
        );
        args.push(format!("--digest-file={}", self.digest_file));
        let insecure = self.insecure_registries.iter();
        args.extend(insecure.map(|registry| format!("--insecure-registry={registry}")));
        let mirrors = self.registry_mirrors.iter();
        args.extend(mirrors.map(|mirror| format!("--registry-mirror={mirror}")));
        // Without a value: Kaniko reads it from its environment.
        let names = self.spec.build_args().keys();
        args.extend(names.map(|name| format!("--build-arg={name}")));
        args.extend(self.extra_args.iter().cloned());
        args
    }

    fn source_args(&self) -> Vec<String> {
        // A bare path would skip the sub-path.
        let mut args = vec![format!("--context=dir://{}", self.workspace)];
        let context = match self.spec.source() {
            Source::Git(git) if !git.context_dir.is_empty() => {
                args.push(format!("--context-sub-path={}", git.context_dir));
                format!("{}/{}", self.workspace, git.context_dir)
            }
            Source::Git(_) | Source::Archive(_) => self.workspace.to_owned(),
        };
        // Absolute: Kaniko looks for a relative one in its working directory first.
        args.push(format!("--dockerfile={context}/{}", self.spec.dockerfile()));
        args
    }

    fn image_args(&self) -> Vec<String> {
        let refs = image_refs(self.registry, self.org, self.spec.name(), self.spec.tags());
        let mut args: Vec<String> = refs
            .into_iter()
            .map(|reference| format!("--destination={reference}"))
            .collect();
        args.extend(
            self.spec
                .platform()
                .map(|platform| format!("--custom-platform={platform}")),
        );
        if self.spec.no_cache() {
            args.push("--cache=false".to_owned());
        } else {
            args.push("--cache=true".to_owned());
            args.push(format!(
                "--cache-repo={}",
                cache_repository(self.registry, self.org)
            ));
        }
        args
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::*;
    use crate::request::{Rules, Submission, SubmittedSource, check};

    fn spec(change: impl FnOnce(&mut Submission)) -> BuildSpec {
        let mut submission = Submission {
            name: "team/web".to_owned(),
            source: Some(SubmittedSource::ZippedCode {
                sha256: [1; 32],
                size_bytes: 1,
            }),
            ..Submission::default()
        };
        change(&mut submission);
        let rules = Rules {
            timeout_default: Duration::from_secs(60),
            timeout_max: Duration::from_secs(60),
            registry: "registry.example.com".to_owned(),
            git_http_allowed: false,
            private_addresses_allowed: false,
            resource_classes: Vec::new(),
        };
        check(submission, &rules).unwrap()
    }

    fn args(spec: &BuildSpec) -> Vec<String> {
        let plan = CommandPlan {
            spec,
            org: &"acme".parse().unwrap(),
            registry: "registry.example.com",
            workspace: "/workspace",
            digest_file: "/out/digest",
            insecure_registries: &["registry.example.com".to_owned()],
            registry_mirrors: &["mirror.example.com".to_owned()],
            extra_args: &["--verbosity=debug".to_owned()],
        };
        plan.args()
    }

    #[test]
    fn a_plain_build() {
        assert_eq!(
            args(&spec(|_| ())),
            [
                "--context=dir:///workspace",
                "--dockerfile=/workspace/Dockerfile",
                "--destination=registry.example.com/acme/team/web:latest",
                "--cache=true",
                "--cache-repo=registry.example.com/acme/cache",
                "--push-retry=3",
                "--image-download-retry=3",
                "--image-fs-extract-retry=2",
                "--compressed-caching=false",
                "--snapshot-mode=redo",
                "--log-format=text",
                "--ignore-path=/product_uuid",
                "--digest-file=/out/digest",
                "--insecure-registry=registry.example.com",
                "--registry-mirror=mirror.example.com",
                "--verbosity=debug",
            ]
        );
    }

    #[test]
    fn every_field_reaches_kaniko_and_no_value_of_an_arg_does() {
        let spec = spec(|s| {
            s.dockerfile = "docker/prod.Dockerfile".to_owned();
            s.tags = vec!["v1".to_owned(), "latest".to_owned()];
            s.platform = "linux/arm64".to_owned();
            s.no_cache = true;
            s.build_args = BTreeMap::from([
                ("TOKEN".to_owned(), "hunter2".to_owned()),
                ("V".to_owned(), "plain-value".to_owned()),
            ]);
            s.source = Some(SubmittedSource::Git {
                url: "https://example.com/x".to_owned(),
                reference: String::new(),
                context_dir: "services/web/".to_owned(),
            });
        });
        let args = args(&spec);
        for expected in [
            "--context=dir:///workspace",
            "--context-sub-path=services/web",
            "--dockerfile=/workspace/services/web/docker/prod.Dockerfile",
            "--destination=registry.example.com/acme/team/web:v1",
            "--destination=registry.example.com/acme/team/web:latest",
            "--custom-platform=linux/arm64",
            "--cache=false",
            "--build-arg=TOKEN",
            "--build-arg=V",
        ] {
            assert!(args.iter().any(|arg| arg == expected), "{expected} in {args:?}");
        }
        assert!(!args.iter().any(|arg| arg.contains("--cache-repo")));
        let line = args.join(" ");
        assert!(!line.contains("hunter2") && !line.contains("plain-value"));
    }
}
