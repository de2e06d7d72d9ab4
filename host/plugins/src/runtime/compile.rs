//! Compiling, in a child process: it is outside of what Wasmtime promises for hostile components, so time, memory and
//! whatever else goes wrong in there are the child's.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::process::ExitStatusExt as _,
    process::{ExitCode, ExitStatus, Stdio},
    time::Duration,
};

use bytes::Bytes;
use nix::sys::{
    resource::{Resource, setrlimit},
    signal::Signal,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
    time::timeout,
};
use wasmtime::Engine;

use super::{RuntimeError, RuntimeOptions, engine};

/// The child's way to say that the component is at fault; why is on its standard error.
const REFUSED: u8 = 3;
/// Builds and calls go first, but not so far that an upload on a busy machine runs out of its time.
const NICE: i32 = 5;
/// Rust's own.
const PANICKED: i32 = 101;
const MEMORY_VARIABLE: &str = "IGNITE_COMPILE_MEMORY_BYTES";
const CPU_VARIABLE: &str = "IGNITE_COMPILE_CPU_SECONDS";

/// Machine code is several times its WebAssembly; Python's 18 MB become about 60.
const MODULE_BYTES_MAX: u64 = 512 << 20;
const COMPLAINT_BYTES_MAX: u64 = 2 << 10;

#[derive(Debug, thiserror::Error)]
pub(crate) enum CompileError {
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

// === The parent ===

/// The compiled module of `component`.
pub(crate) async fn compile(options: &RuntimeOptions, component: &Bytes) -> Result<Vec<u8>, CompileError> {
    let mut child = spawn(options).map_err(failed)?;
    let result = match timeout(options.compile_timeout, converse(&mut child, component)).await {
        Ok(result) => result.map_err(failed)?,
        Err(_) => {
            child.kill().await.map_err(failed)?;
            return Err(too_long(options.compile_timeout));
        }
    };
    let (status, module, complaint) = result;
    if status.success() {
        return Ok(module);
    }
    Err(refusal(options, status, &complaint))
}

fn spawn(options: &RuntimeOptions) -> io::Result<Child> {
    let (program, arguments) = options
        .compiler
        .split_first()
        .ok_or_else(|| io::Error::other("no program for the compiling child is configured"))?;
    // Threads compile side by side, so processor time may pass faster than the clock.
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let cpu_seconds = options
        .compile_timeout
        .as_secs()
        .saturating_add(1)
        .saturating_mul(cores);
    Command::new(program)
        .args(arguments)
        .env_clear()
        .env(MEMORY_VARIABLE, options.compile_memory_bytes.to_string())
        .env(CPU_VARIABLE, cpu_seconds.to_string())
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Who stops waiting stops the compilation.
        .kill_on_drop(true)
        .spawn()
}

async fn converse(child: &mut Child, component: &Bytes) -> io::Result<(ExitStatus, Vec<u8>, String)> {
    let missing = || io::Error::other("the compiling child has no pipes");
    let mut stdin = child.stdin.take().ok_or_else(missing)?;
    let stdout = child.stdout.take().ok_or_else(missing)?;
    let stderr = child.stderr.take().ok_or_else(missing)?;
    let write = async {
        // A child that ends early says why by its status.
        let _broken_pipe = stdin.write_all(component).await;
        drop(stdin);
    };
    let ((), module, complaint) = tokio::join!(
        write,
        read_to(MODULE_BYTES_MAX, stdout),
        read_to(COMPLAINT_BYTES_MAX, stderr)
    );
    let complaint = String::from_utf8_lossy(&complaint?).trim().to_owned();
    Ok((child.wait().await?, module?, complaint))
}

/// All there is, or the first `bytes_max` of it; then the pipe is closed and who writes on is ended by that.
async fn read_to(bytes_max: u64, pipe: impl AsyncRead + Unpin) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    pipe.take(bytes_max).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

fn refusal(options: &RuntimeOptions, status: ExitStatus, complaint: &str) -> CompileError {
    if status.code() == Some(i32::from(REFUSED)) {
        return CompileError::Refused(format!("the component does not compile: {complaint}"));
    }
    // Out of memory shows as an abort, or as a panic where a thread cannot be had; a compiler that crashes looks the same.
    let crashed = || {
        CompileError::Refused(format!(
            "the component took more than {} MiB of memory to compile, or crashed the compiler",
            options.compile_memory_bytes >> 20
        ))
    };
    if status.code() == Some(PANICKED) {
        return crashed();
    }
    let signal = status.signal().and_then(|number| Signal::try_from(number).ok());
    match signal {
        Some(Signal::SIGXCPU | Signal::SIGKILL) => too_long(options.compile_timeout),
        Some(Signal::SIGABRT | Signal::SIGSEGV | Signal::SIGBUS | Signal::SIGTRAP) => crashed(),
        _ => failed(io::Error::other(format!(
            "the compiling child ended with {status}: {complaint}"
        ))),
    }
}

fn too_long(limit: Duration) -> CompileError {
    CompileError::Refused(format!("the component took more than {limit:?} to compile"))
}

fn failed(source: io::Error) -> CompileError {
    CompileError::Runtime(RuntimeError::Io {
        doing: "compiling a component".to_owned(),
        source,
    })
}

// === The child ===

/// The compiling child's whole work: a component on standard input, the compiled module on standard output. Sets its own
/// limits first. Returns the exit status.
pub fn compile_child() -> ExitCode {
    match child() {
        Ok(()) => ExitCode::SUCCESS,
        Err(ChildError::Component(problem)) => {
            let _nobody_listens = writeln!(io::stderr(), "{problem}");
            ExitCode::from(REFUSED)
        }
        Err(ChildError::Io(error)) => {
            let _nobody_listens = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

enum ChildError {
    Component(String),
    Io(io::Error),
}

fn child() -> Result<(), ChildError> {
    limit(Resource::RLIMIT_CORE, Some(0))?;
    limit(Resource::RLIMIT_AS, variable(MEMORY_VARIABLE))?;
    limit(Resource::RLIMIT_CPU, variable(CPU_VARIABLE))?;
    let _as_it_is = rustix::process::setpriority_process(None, NICE);

    let mut component = Vec::new();
    io::stdin().read_to_end(&mut component).map_err(ChildError::Io)?;
    let engine = Engine::new(&engine::config())
        .map_err(|error| ChildError::Io(io::Error::other(format!("{error:#}"))))?;
    let module = engine
        .precompile_component(&component)
        .map_err(|error| ChildError::Component(format!("{error:#}")))?;
    io::stdout().write_all(&module).map_err(ChildError::Io)
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn limit(resource: Resource, value: Option<u64>) -> Result<(), ChildError> {
    let Some(value) = value else { return Ok(()) };
    setrlimit(resource, value, value).map_err(|error| ChildError::Io(error.into()))
}
