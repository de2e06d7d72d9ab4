//! The real daemon, `ignited`, with a data folder of its own.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    ops::Range,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{self, Child, Command, ExitStatus},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    caller::Caller,
    cli::Cli,
    cluster::{self, Cluster},
    command,
    http::Http,
    leftovers, paths,
    registry::Registry,
    wait::eventually_blocking,
};

/// A gateway under test. When dropped it is asked to end, and nothing of it may be left.
#[derive(Debug)]
pub struct Gateway {
    folder: tempfile::TempDir,
    settings: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    /// `host:port`; kept over restarts.
    address: String,
    daemon: Option<Child>,
    /// Of `acme`, made before the first start: known at once.
    token: String,
    /// Every build that a caller of this gateway made, for the check at the end.
    builds: Arc<Mutex<Vec<String>>>,
}

/// What a gateway is started with.
#[derive(Debug, Default)]
pub struct Builder {
    settings: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    /// Unless it is a free port of loopback.
    address: Option<String>,
}

/// A second daemon over the same data, started while the first one runs.
#[derive(Debug)]
pub struct Standby {
    daemon: Child,
    log_file: PathBuf,
    address: String,
}

/// What a token may do.
pub const READ_WRITE: &str = "builds:read,builds:write";
pub const READ: &str = "builds:read";
/// What a platform team needs.
pub const PLATFORM: &str = "builds:read,builds:write,plugins:read,plugins:write,policies:read,policies:write";

const START_DEADLINE: Duration = Duration::from_secs(60);
const END_DEADLINE: Duration = Duration::from_secs(60);
/// Control groups and mounts go a moment after the processes in them.
const CLEAN_DEADLINE: Duration = Duration::from_secs(20);
const LOG_END_LINES: usize = 60;

// === impl Builder ===

impl Builder {
    /// Pushes to this registry instead of the shared one.
    pub fn registry(self, registry: &Registry) -> Self {
        self.setting("registry", registry.address())
    }

    /// Sets one setting by its name in the configuration file; the last one counts.
    #[allow(clippy::needless_pass_by_value, reason = "reads better with literals")]
    pub fn setting(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }

    /// Sets a variable of the daemon's environment that is no setting.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs builds as pods of this namespace, pushes to the cluster's registry, and is reached by pods.
    pub fn on_cluster(mut self, cluster: &Cluster, namespace: &str) -> Self {
        // Pods are told the port before the daemon can tell it.
        let address = lasting_address(cluster.host_address());
        let url = format!("http://{address}");
        self.address = Some(address);
        self.registry(cluster.registry())
            .setting("executor", "kubernetes")
            .setting("kubernetes_kubeconfig", cluster.kubeconfig().display())
            .setting("kubernetes_namespace", namespace)
            .setting("kubernetes_fetch_image", cluster.fetch_image())
            .setting("kubernetes_kaniko_image", cluster.kaniko_image())
            .setting("kubernetes_gateway_url", url)
    }

    /// Starts the daemon and waits until it is ready.
    pub fn start(self) -> Gateway {
        let folder = tempfile::Builder::new()
            .prefix("ignite-gateway-")
            .tempdir()
            .unwrap();
        // A build's root may be an unprivileged user of this machine, which must be able to pass.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let tokens = folder.path().join("tokens");
        File::create(&tokens).unwrap();
        let settings = [
            ("data_dir", folder.path().join("data").display().to_string()),
            ("tokens_file", tokens.display().to_string()),
            ("registry", Registry::shared().address().to_owned()),
            ("registry_insecure", "true".to_owned()),
            ("kaniko", paths::made_by_setup("KANIKO")),
            ("git_http_allowed", "true".to_owned()),
            ("git_private_addresses_allowed", "true".to_owned()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .chain(self.settings)
        .collect();
        let mut gateway = Gateway {
            folder,
            settings,
            environment: self.environment,
            address: self.address.unwrap_or_else(|| lasting_address("127.0.0.1")),
            daemon: None,
            token: String::new(),
            builds: Arc::default(),
        };
        // Before the first start: a gateway without any token is a configuration error.
        gateway.token = gateway.create_token("acme", READ_WRITE);
        gateway.launch();
        gateway
    }
}

// === impl Standby ===

impl Standby {
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log_file).unwrap_or_default()
    }

    /// The status line of what it answers to a GET without a token.
    pub fn status(&self, path: &str) -> Option<String> {
        let head = plain_get(&self.address, path, None)?;
        head.lines().next().map(str::to_owned)
    }

    /// Ends it without a warning, and waits until it is gone.
    pub fn kill9(mut self) {
        self.daemon.kill().unwrap();
        self.daemon.wait().unwrap();
    }
}

// === impl Gateway ===

impl Gateway {
    /// One that pushes to the shared registry and is set up as the defaults are.
    pub fn start() -> Self {
        Self::builder().start()
    }

    pub fn builder() -> Builder {
        Builder::default()
    }

    /// `host:port` of both transports.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The daemon's process id.
    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().expect("the daemon runs").id()
    }

    /// What the daemon has logged since its first start.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// A client of the organization `acme` that may read and write.
    pub fn caller(&self) -> Caller {
        Caller::new(&self.address, &self.token, Arc::clone(&self.builds))
    }

    /// A client with a new token.
    pub fn caller_of(&self, organization: &str, scopes: &str) -> Caller {
        let token = self.create_token(organization, scopes);
        wait_until_known(&self.address, &token);
        Caller::new(&self.address, &token, Arc::clone(&self.builds))
    }

    /// The command-line client of the same user.
    pub fn cli(&self) -> Cli {
        Cli::new(&self.address, &self.token)
    }

    /// The command-line client of another user of `acme`.
    pub fn cli_of(&self, subject: &str, scopes: &str) -> Cli {
        let token = self.create_token_of("acme", subject, scopes);
        wait_until_known(&self.address, &token);
        Cli::new(&self.address, &token)
    }

    /// An HTTP client without a token.
    pub fn stranger(&self) -> Http {
        Http::new(&self.address, None)
    }

    /// Lets `ignited token create` add a token to the tokens file; returns it.
    pub fn create_token(&self, organization: &str, scopes: &str) -> String {
        self.create_token_of(organization, "tester", scopes)
    }

    fn create_token_of(&self, organization: &str, subject: &str, scopes: &str) -> String {
        let printed = command::run(
            Command::new(paths::binary("ignited"))
                .args([
                    "token",
                    "create",
                    "--organization",
                    organization,
                    "--subject",
                    subject,
                ])
                .args(["--scopes", scopes, "--file"])
                .arg(self.folder.path().join("tokens")),
        );
        printed.trim().to_owned()
    }

    /// Ends the daemon without a warning.
    pub fn kill9(&mut self) {
        let mut daemon = self.daemon.take().expect("the daemon runs");
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }

    /// [`Gateway::kill9`], unless it has ended or could not start.
    pub fn kill9_if_running(&mut self) {
        if self.daemon.is_some() {
            self.kill9();
        }
    }

    /// Asks the daemon to end and waits until it has.
    pub fn terminate(&mut self) -> ExitStatus {
        let mut daemon = self.daemon.take().expect("the daemon runs");
        let pid = Pid::from_raw(i32::try_from(daemon.id()).unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        eventually_blocking("the daemon to end after SIGTERM", END_DEADLINE, || {
            daemon.try_wait().unwrap()
        })
    }

    /// Starts the daemon again, on the same data and address.
    pub fn restart(&mut self) {
        assert!(self.daemon.is_none(), "the daemon still runs");
        self.launch();
    }

    /// Starts another daemon with the same settings, at an address of its own. It need not become ready.
    pub fn standby(&self) -> Standby {
        let address = lasting_address("127.0.0.1");
        let log_file = self
            .folder
            .path()
            .join(format!("standby-{}.log", address.replace(':', "-")));
        let daemon = self.spawn(&address, &log_file);
        Standby {
            daemon,
            log_file,
            address,
        }
    }

    /// The standby is the gateway from now on. The first daemon must have ended; waits until the other is ready.
    pub fn go_on_with(&mut self, standby: Standby) {
        assert!(self.daemon.is_none(), "the daemon still runs");
        eventually_blocking("the standby to take over", START_DEADLINE, || {
            is_ready(&standby.address).then_some(())
        });
        let mut log = File::options().append(true).open(self.log_file()).unwrap();
        log.write_all(standby.log().as_bytes()).unwrap();
        self.address = standby.address;
        self.daemon = Some(standby.daemon);
    }

    /// Waits until the daemon has ended by itself.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let mut daemon = self.daemon.take().expect("the daemon runs");
        eventually_blocking("the daemon to end", END_DEADLINE, || daemon.try_wait().unwrap())
    }

    fn spawn(&self, address: &str, log_file: &Path) -> Child {
        let log = File::options().create(true).append(true).open(log_file).unwrap();
        let settings = self.settings.iter();
        Command::new(paths::binary("ignited"))
            .env("IGNITED_LISTEN", address)
            .envs(settings.map(|(name, value)| (format!("IGNITED_{}", name.to_ascii_uppercase()), value)))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    /// [`Gateway::restart`] of a daemon that may find that it cannot work; what it says then.
    pub fn try_restart(&mut self) -> Result<(), String> {
        assert!(self.daemon.is_none(), "the daemon still runs");
        self.try_launch()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("ignited.log")
    }

    fn launch(&mut self) {
        self.try_launch().unwrap_or_else(|problem| panic!("{problem}"));
    }

    fn try_launch(&mut self) -> Result<(), String> {
        let from = fs::metadata(self.log_file()).map_or(0, |file| file.len());
        let log_file = self.log_file();
        let mut daemon = self.spawn(&self.address, &log_file);
        self.address = eventually_blocking("the daemon to listen", START_DEADLINE, || {
            let text = fs::read(&log_file).unwrap();
            let text = String::from_utf8_lossy(&text[usize::try_from(from).unwrap()..]).into_owned();
            if let Some(status) = daemon.try_wait().unwrap() {
                return Some(Err(format!("ignited ended with {status}:\n{text}")));
            }
            listening_address(&text).map(Ok)
        })?;
        self.daemon = Some(daemon);
        eventually_blocking("the daemon to be ready", START_DEADLINE, || {
            is_ready(&self.address).then_some(())
        });
        Ok(())
    }

    fn setting(&self, name: &str) -> Option<&str> {
        let of_name = self.settings.iter().rev().find(|(each, _)| each == name);
        of_name.map(|(_, value)| value.as_str())
    }

    /// Runs that were not cleaned away although their builds should have ended.
    fn runs_left(&self) -> Vec<String> {
        // Builds are pods.
        if let Some(instance) = self.setting("kubernetes_namespace") {
            return soon_empty(|| cluster::runs_of(instance));
        }
        let runs = self.data_dir().join("runs");
        soon_empty(|| {
            let entries = fs::read_dir(&runs).into_iter().flatten().flatten();
            entries
                .map(|entry| format!("run {}", entry.path().display()))
                .collect()
        })
    }

    /// What is short enough to be read in a pipeline's output: without the line for each request, which tests make many of.
    fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log
            .lines()
            .filter(|line| !line.contains(" INFO request "))
            .collect();
        lines[lines.len().saturating_sub(LOG_END_LINES)..].join("\n")
    }

    fn sweep(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ended = daemon.kill();
            let _status = daemon.wait();
        }
        leftovers::sweep(self.folder.path());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- the end of the daemon's log ---\n{}", self.log_end());
            self.sweep();
            return;
        }
        let mut faults = Vec::new();
        if self.daemon.is_some() {
            faults.extend(self.runs_left());
            let status = self.terminate();
            if !status.success() {
                faults.push(format!("the daemon ended with {status}"));
            }
        }
        let builds = self.builds.lock().unwrap().clone();
        faults.extend(soon_empty(|| leftovers::all(self.folder.path(), &builds)));
        self.sweep();
        assert!(faults.is_empty(), "left behind: {faults:#?}\n{}", self.log_end());
    }
}

/// What `look` still sees once it has had time to go.
fn soon_empty(look: impl Fn() -> Vec<String>) -> Vec<String> {
    let start = Instant::now();
    eventually_blocking("a last look", 2 * CLEAN_DEADLINE, || {
        let left = look();
        (left.is_empty() || start.elapsed() > CLEAN_DEADLINE).then_some(left)
    })
}

/// The field `addr` of the line `listening`, as text or as JSON.
fn listening_address(log: &str) -> Option<String> {
    let line = log.lines().find(|line| line.contains("listening"))?;
    let (_, rest) = line.split_once("addr")?;
    let address: String = rest
        .trim_start_matches(['"', '=', ':', ' '])
        .chars()
        .take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':'))
        .collect();
    (!address.is_empty()).then_some(address)
}

fn is_ready(address: &str) -> bool {
    plain_get(address, "/readyz", None).is_some_and(|head| head.starts_with("HTTP/1.1 200"))
}

/// With a port that is free and stays so while the daemon is down: below those that the kernel gives to connections, and to
/// servers that take any.
fn lasting_address(host: &str) -> String {
    const PORTS: Range<u16> = 10_000..32_768;
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    // Where another process of tests hardly looks at the same time.
    let offset = usize::try_from(process::id()).unwrap() * 100;
    let ports = (0..PORTS.len()).map(|_| {
        let next = offset + NEXT.fetch_add(1, Ordering::Relaxed);
        PORTS.start + u16::try_from(next % PORTS.len()).unwrap()
    });
    let free = ports
        .map(|port| TcpListener::bind((host, port)))
        .find_map(Result::ok);
    free.expect("a free port").local_addr().unwrap().to_string()
}

pub(crate) fn wait_until_ready(address: &str) {
    eventually_blocking("the gateway to be ready", START_DEADLINE, || {
        is_ready(address).then_some(())
    });
}

/// The tokens file is reread on change, which takes a moment.
pub(crate) fn wait_until_known(address: &str, token: &str) {
    eventually_blocking("a new token to be accepted", START_DEADLINE, || {
        let head = plain_get(address, "/v1/ignite/builds?limit=1", Some(token))?;
        (!head.starts_with("HTTP/1.1 401")).then_some(())
    });
}

/// A GET without a runtime; the start of the response.
fn plain_get(address: &str, path: &str, token: Option<&str>) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let authorization = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{authorization}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut head = [0; 512];
    let length = stream.read(&mut head).ok()?;
    Some(String::from_utf8_lossy(&head[..length]).into_owned())
}

/// The files named `db` below a folder: sled's databases.
pub fn database_files(data_dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![data_dir.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                pending.push(entry.path());
            } else if entry.file_name() == "db" {
                found.push(entry.path());
            }
        }
    }
    found
}
