//! The sandbox a build runs in, as an OCI bundle: a throw-away root with nothing in it but what Kaniko needs.
//!
//! The network is the host's: what a build may reach is decided by the machine's firewall. Everything else is the build's
//! own, and with a user namespace its root is an unprivileged range of ids on the machine.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::lchown,
    path::{Path, PathBuf},
};

use ignite_core::{
    kaniko,
    secrets::{RegistryLogin, SecretText},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::executor::{
    container::{self, EXECUTOR},
    local::{
        Limits, UserNamespace, cgroups,
        layout::{RunDir, create, create_dir},
    },
};

mod seccomp;

const DOCKER_CONFIG_DIR: &str = "/kaniko/.docker/";
const CA_BUNDLE: &str = "/kaniko/ssl/certs/ca-certificates.crt";
const REGISTRY_CA: &str = "/kaniko/ssl/certs/registry-ca.pem";
const HOSTNAME: &str = "ignite-build";

/// As Docker masks them.
const MASKED_PATHS: [&str; 10] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/scsi",
    "/proc/sched_debug",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
];
const READONLY_PATHS: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// What is the same for all runs of one executor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SandboxConfig {
    pub(super) kaniko: PathBuf,
    pub(super) user_namespace: Option<UserNamespace>,
    pub(super) limits: Limits,
    pub(super) docker_config: Option<PathBuf>,
    pub(super) ca_bundle: Option<PathBuf>,
    pub(super) registry_ca_file: Option<PathBuf>,
    pub(super) env: BTreeMap<String, String>,
}

/// One run's sandbox. No `Debug`: `secret_env` is in it.
pub(super) struct Sandbox<'a> {
    config: &'a SandboxConfig,
    dir: &'a RunDir,
    id: &'a str,
    /// Kaniko's. The context is mounted where `--context=dir://` says.
    pub(super) args: Vec<String>,
    /// Build args and mounted secrets. Kaniko's own settings win over them.
    pub(super) secret_env: BTreeMap<String, SecretText>,
    has_logins: bool,
}

// === impl Sandbox ===

impl<'a> Sandbox<'a> {
    pub(super) fn new(config: &'a SandboxConfig, dir: &'a RunDir, id: &'a str) -> Self {
        Self {
            config,
            dir,
            id,
            args: Vec::new(),
            secret_env: BTreeMap::new(),
            has_logins: false,
        }
    }

    /// Makes the root tree, the private folder and the files that are mounted into the root.
    pub(super) fn prepare(&self) -> io::Result<()> {
        const FOLDERS: [(&str, u32); 12] = [
            ("", 0o755),
            ("dev", 0o755),
            ("etc", 0o755),
            ("kaniko", 0o755),
            ("kaniko/.docker", 0o700),
            ("kaniko/ssl", 0o755),
            ("kaniko/ssl/certs", 0o755),
            ("proc", 0o755),
            ("root", 0o700),
            ("sys", 0o755),
            ("tmp", 0o1777),
            ("var", 0o755),
        ];
        let root = self.dir.rootfs();
        for (name, mode) in FOLDERS {
            let path = root.join(name);
            create_dir(&path, mode)?;
            // The umask has no say in it.
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode))?;
            self.own(&path)?;
        }
        // Kaniko looks up its own user even where the base image has none.
        self.write(
            &root.join("etc/passwd"),
            b"root:x:0:0:root:/root:/bin/sh\n",
            0o644,
        )?;
        self.write(&root.join("etc/group"), b"root:x:0:\n", 0o644)?;

        create_dir(&self.dir.join("etc"), 0o700)?;
        let resolv = fs::read("/etc/resolv.conf").unwrap_or_default();
        self.write(&self.dir.join("etc/resolv.conf"), &resolv, 0o644)?;
        let mut hosts = fs::read("/etc/hosts").unwrap_or_default();
        hosts.extend_from_slice(format!("\n127.0.0.1\tlocalhost {HOSTNAME}\n").as_bytes());
        self.write(&self.dir.join("etc/hosts"), &hosts, 0o644)?;
        // A copy, for the build's root could not read a file that is the machine's root's alone.
        if let Some(ca_file) = &self.config.registry_ca_file {
            self.write(&self.registry_ca(), &fs::read(ca_file)?, 0o444)?;
        }
        Ok(())
    }

    /// Gives Kaniko the operator's registry logins, and the organization's over them.
    pub(super) fn log_in(&mut self, logins: &BTreeMap<String, RegistryLogin>) -> io::Result<()> {
        let operators = match &self.config.docker_config {
            Some(path) => Some(Zeroizing::new(fs::read_to_string(path)?)),
            None => None,
        };
        if operators.is_none() && logins.is_empty() {
            return Ok(());
        }
        let text = kaniko::docker_config(operators.as_deref().map(String::as_str), logins)
            .map_err(|error| io::Error::other(format!("the setting registry_docker_config: {error}")))?;
        self.has_logins = true;
        self.write(&self.docker_json(), text.reveal().as_bytes(), 0o400)
    }

    /// Writes `config.json`, which carries build args and mounted secrets until the container has started.
    pub(super) fn write_bundle(&self) -> io::Result<()> {
        create_dir(&self.dir.bundle(), 0o700)?;
        let spec = Zeroizing::new(serde_json::to_vec(&self.spec())?);
        self.write(&self.config_path(), &spec, 0o600)
    }

    pub(super) fn config_path(&self) -> PathBuf {
        self.dir.bundle().join("config.json")
    }

    fn spec(&self) -> Value {
        let mut args = vec![EXECUTOR.to_owned()];
        args.extend(self.args.iter().cloned());
        let capabilities = container::CAPABILITIES.map(|name| format!("CAP_{name}"));
        json!({
            "ociVersion": "1.0.2",
            "hostname": HOSTNAME,
            "root": { "path": self.dir.rootfs() },
            "process": {
                "user": { "uid": 0, "gid": 0 },
                "cwd": "/",
                "args": args,
                "env": self.env(),
                "capabilities": {
                    "bounding": capabilities,
                    "effective": capabilities,
                    "permitted": capabilities,
                },
                // su and sudo in a RUN step need their set-id bits to work, as under Docker.
                "noNewPrivileges": false,
            },
            "mounts": self.mounts(),
            "linux": self.linux(),
        })
    }

    fn env(&self) -> Vec<String> {
        let secret = self.secret_env.iter();
        let mut env: BTreeMap<String, String> = secret
            .map(|(name, value)| (name.clone(), value.reveal().to_owned()))
            .collect();
        env.extend(self.config.env.clone());
        let own = kaniko::ENVIRONMENT
            .into_iter()
            .chain(container::ENVIRONMENT)
            // How Kaniko knows that it is in a container and may overwrite its root.
            .chain([("container", "oci")]);
        env.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
        env.into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }

    fn mounts(&self) -> Vec<Value> {
        let bind = |to: &str, from: &Path, mode: &str| mount(to, "bind", from, &["bind", "nodev", mode]);
        let mut mounts = vec![
            mount("/proc", "proc", Path::new("proc"), &["nosuid", "noexec", "nodev"]),
            mount(
                "/dev",
                "tmpfs",
                Path::new("tmpfs"),
                &["nosuid", "strictatime", "mode=755", "size=65536k"],
            ),
            mount(
                "/dev/pts",
                "devpts",
                Path::new("devpts"),
                &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
            ),
            mount(
                "/dev/shm",
                "tmpfs",
                Path::new("shm"),
                &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
            ),
            self.sysfs(),
            // Over the machine's own trees: compilers and virtual machines size themselves by the limits in it.
            mount(
                "/sys/fs/cgroup",
                "cgroup",
                Path::new("cgroup"),
                &["nosuid", "noexec", "nodev", "relatime", "ro"],
            ),
            bind(EXECUTOR, &self.config.kaniko, "ro"),
            bind("/etc/resolv.conf", &self.dir.join("etc/resolv.conf"), "rw"),
            bind("/etc/hosts", &self.dir.join("etc/hosts"), "rw"),
        ];
        // A mount, not a folder: Kaniko leaves mounts out of its snapshots. The probe has none.
        if let Some(context) = self
            .args
            .iter()
            .find_map(|arg| arg.strip_prefix("--context=dir://"))
        {
            mounts.push(bind(context, &self.dir.workspace(), "rw"));
        }
        if self.has_logins {
            let to = format!("{DOCKER_CONFIG_DIR}config.json");
            // With all that file systems in memory are mounted with: a user namespace cannot leave any of it out.
            let options = ["bind", "nosuid", "nodev", "noexec", "ro"];
            mounts.push(mount(&to, "bind", &self.docker_json(), &options));
        }
        if let Some(ca_bundle) = &self.config.ca_bundle {
            mounts.push(bind(CA_BUNDLE, ca_bundle, "ro"));
        }
        if self.config.registry_ca_file.is_some() {
            mounts.push(bind(REGISTRY_CA, &self.registry_ca(), "ro"));
        }
        mounts
    }

    fn docker_json(&self) -> PathBuf {
        self.dir.private().join("docker.json")
    }

    fn registry_ca(&self) -> PathBuf {
        self.dir.join("etc/registry-ca.pem")
    }

    fn sysfs(&self) -> Value {
        let options = |first| [first, "nosuid", "noexec", "nodev", "ro"];
        match self.config.user_namespace {
            // A fresh one would need a network namespace of its own. What is writable below belongs to the machine's root.
            Some(_) => mount("/sys", "none", Path::new("/sys"), &options("rbind")),
            None => mount("/sys", "sysfs", Path::new("sysfs"), &options("relatime")),
        }
    }

    fn linux(&self) -> Value {
        const CPU_PERIOD_MICROS: u64 = 100_000;
        let limits = &self.config.limits;
        let mut namespaces = vec!["pid", "ipc", "uts", "mount"];
        let mut linux = json!({
            "cgroupsPath": cgroups::path(self.id),
            "resources": {
                // As much with swap as without: no swap.
                "memory": { "limit": limits.memory_bytes, "swap": limits.memory_bytes },
                "cpu": {
                    "quota": limits.cpu_millis.saturating_mul(CPU_PERIOD_MICROS) / 1000,
                    "period": CPU_PERIOD_MICROS,
                },
                "pids": { "limit": limits.pids },
                // But for the harmless ones that the runtime adds.
                "devices": [{ "allow": false, "access": "rwm" }],
            },
            "maskedPaths": MASKED_PATHS,
            "readonlyPaths": READONLY_PATHS,
            "seccomp": seccomp::profile(),
        });
        if let Some(UserNamespace { uid_base, size }) = self.config.user_namespace {
            namespaces.push("user");
            let map = json!([{ "containerID": 0, "hostID": uid_base, "size": size }]);
            merge(&mut linux, "uidMappings", map.clone());
            merge(&mut linux, "gidMappings", map);
        }
        let namespaces: Vec<Value> = namespaces.iter().map(|kind| json!({ "type": kind })).collect();
        merge(&mut linux, "namespaces", Value::Array(namespaces));
        linux
    }

    fn write(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
        let mut file = create(path, mode)?;
        io::Write::write_all(&mut file, bytes)?;
        self.own(path)
    }

    fn own(&self, path: &Path) -> io::Result<()> {
        let base = self.config.user_namespace.map(|ns| ns.uid_base);
        own(path, base, base)
    }
}

/// Gives one path to an owner and a group; `None` leaves them be.
pub(super) fn own(path: &Path, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    if uid.is_none() && gid.is_none() {
        return Ok(());
    }
    lchown(path, uid, gid)
}

fn mount(to: &str, kind: &str, from: &Path, options: &[&str]) -> Value {
    json!({ "destination": to, "type": kind, "source": from, "options": options })
}

fn merge(object: &mut Value, key: &str, value: Value) {
    if let Value::Object(fields) = object {
        fields.insert(key.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> SandboxConfig {
        SandboxConfig {
            kaniko: PathBuf::from("/opt/executor"),
            user_namespace: Some(UserNamespace::default()),
            limits: Limits::default(),
            docker_config: None,
            ca_bundle: None,
            registry_ca_file: None,
            env: BTreeMap::new(),
        }
    }

    fn spec(config: &SandboxConfig) -> Value {
        let dir = RunDir::new(PathBuf::from("/runs/r"));
        let mut sandbox = Sandbox::new(config, &dir, "r");
        sandbox.args = vec!["--context=dir:///kaniko/context".to_owned()];
        sandbox.secret_env = [
            ("TOKEN", "hunter2"),
            ("PATH", "/evil"),
            ("DOCKER_CONFIG", "/evil"),
        ]
        .map(|(name, value)| (name.to_owned(), SecretText::new(value.to_owned())))
        .into();
        sandbox.spec()
    }

    #[test]
    fn build_args_are_environment_only_and_steer_nothing() {
        let spec = spec(&config());
        let env = spec["process"]["env"].as_array().unwrap();
        assert!(env.contains(&json!("TOKEN=hunter2")));
        for (name, value) in kaniko::ENVIRONMENT {
            assert!(env.contains(&json!(format!("{name}={value}"))), "{name}");
        }
        assert_eq!(spec.to_string().matches("hunter2").count(), 1);
        assert!(!spec.to_string().contains("/evil"));
    }

    #[test]
    fn the_context_is_mounted_where_kaniko_is_told_to_look() {
        let spec = spec(&config());
        let mounts = spec["mounts"].as_array().unwrap();
        let context = mounts
            .iter()
            .find(|mount| mount["destination"] == "/kaniko/context");
        assert_eq!(context.unwrap()["source"], "/runs/r/workspace");
    }

    #[test]
    fn authorities_for_registries_come_beside_the_machines() {
        let folder = tempfile::tempdir().unwrap();
        let (system, ours) = (folder.path().join("system"), folder.path().join("ours"));
        fs::write(&ours, "ours").unwrap();
        let config = SandboxConfig {
            user_namespace: None,
            ca_bundle: Some(system.clone()),
            registry_ca_file: Some(ours),
            ..config()
        };
        let dir = RunDir::new(folder.path().join("run"));
        create_dir(dir.path(), 0o700).unwrap();
        let sandbox = Sandbox::new(&config, &dir, "r");
        sandbox.prepare().unwrap();
        let spec = sandbox.spec();
        let mounts = spec["mounts"].as_array().unwrap();
        let mounted: Vec<_> = mounts
            .iter()
            .filter(|mount| {
                let parent = Path::new(mount["destination"].as_str().unwrap()).parent();
                parent == Some(Path::new(container::CA_DIR))
            })
            .map(|mount| PathBuf::from(mount["source"].as_str().unwrap()))
            .collect();
        assert_eq!(mounted, [system, dir.join("etc/registry-ca.pem")]);
        assert_eq!(fs::read(&mounted[1]).unwrap(), b"ours");
    }

    #[test]
    fn without_a_user_namespace_nothing_of_the_machines_is_below_sys() {
        let config = SandboxConfig {
            user_namespace: None,
            ..config()
        };
        let spec = spec(&config);
        let kinds = spec["linux"]["namespaces"].as_array().unwrap();
        assert!(!kinds.contains(&json!({ "type": "user" })));
        let mounts = spec["mounts"].as_array().unwrap();
        let sys: Vec<_> = mounts.iter().filter(|mount| mount["source"] == "/sys").collect();
        assert!(sys.is_empty(), "{sys:?}");
    }
}
