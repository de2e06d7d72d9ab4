//! Runs a program to its end, as the first process of a container.

use std::{
    ffi::{OsStr, OsString},
    io::{self, PipeReader, Read as _, Write},
    os::fd::AsFd as _,
    process::Command,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl,
        signal::{SigSet, Signal, kill},
        signalfd::{SfdFlags, SignalFd},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

use crate::frames::Frames;

/// What a pipe may hold: so much is read at once, and once more after the program has ended.
const PIPE_BYTES: usize = 64 << 10;
/// How long a piece without a newline waits for more.
const REST_MS: u16 = 50;
/// Shells add the number of the signal.
const SIGNALED: i32 = 128;

/// The exit code: the program's, or as shells have it where a signal ended it.
pub(crate) fn run(program: &OsStr, args: impl Iterator<Item = OsString>) -> io::Result<u8> {
    // The steps of a build are root in this container, too: none of them is to write where the numbers are written.
    prctl::set_dumpable(false)?;
    // The program has none of it: the standard library gives it an empty mask.
    let mask = SigSet::from_iter([Signal::SIGCHLD, Signal::SIGTERM]);
    mask.thread_block()?;
    let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let (mut pipe, program) = start(program, args)?;
    let mut frames = Frames::new(io::stdout().lock());
    let mut is_open = true;
    let code = loop {
        let timeout = match frames.has_rest() {
            true => PollTimeout::from(REST_MS),
            false => PollTimeout::NONE,
        };
        let ready = wait(is_open.then_some(&pipe), &signals, timeout)?;
        if ready.output {
            is_open = pass_on(&mut pipe, &mut frames)? > 0;
        } else if !ready.signals {
            frames.flush()?;
        }
        if ready.signals
            && let Some(code) = heed(&signals, program)?
        {
            break code;
        }
    };
    // What the program wrote before it ended. What it left running ends with this process, and may go on writing until then.
    let mut left = PIPE_BYTES;
    while is_open && left > 0 && wait(Some(&pipe), &signals, PollTimeout::ZERO)?.output {
        let len = pass_on(&mut pipe, &mut frames)?;
        is_open = len > 0;
        left = left.saturating_sub(len);
    }
    frames.finish()?;
    Ok(code)
}

fn start(program: &OsStr, args: impl Iterator<Item = OsString>) -> io::Result<(PipeReader, Pid)> {
    let (pipe, end) = io::pipe()?;
    let child = Command::new(program)
        .args(args)
        .stdout(end.try_clone()?)
        .stderr(end)
        .spawn()?;
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    Ok((pipe, Pid::from_raw(pid)))
}

/// How much it was; 0 at the end.
fn pass_on(pipe: &mut PipeReader, frames: &mut Frames<impl Write>) -> io::Result<usize> {
    let mut bytes = [0; PIPE_BYTES];
    let len = pipe.read(&mut bytes)?;
    frames.push(bytes.get(..len).unwrap_or_default())?;
    Ok(len)
}

/// What there is to look at.
struct Ready {
    output: bool,
    signals: bool,
}

fn wait(pipe: Option<&PipeReader>, signals: &SignalFd, timeout: PollTimeout) -> io::Result<Ready> {
    let mut fds = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    fds.extend(pipe.map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
    match poll(&mut fds, timeout) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    let is_ready = |at: usize| fds.get(at).and_then(PollFd::any).unwrap_or_default();
    Ok(Ready {
        output: is_ready(1),
        signals: is_ready(0),
    })
}

/// The program's exit code, if that is what happened. As the first process of its container, this one buries all that others leave.
fn heed(signals: &SignalFd, program: Pid) -> io::Result<Option<u8>> {
    while let Some(signal) = signals.read_signal()? {
        if i32::try_from(signal.ssi_signo) == Ok(Signal::SIGTERM as i32) {
            // A build has nothing to tidy up.
            kill(program, Signal::SIGKILL)?;
        }
    }
    let mut code = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, exit)) if pid == program => code = u8::try_from(exit).ok(),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == program => {
                code = u8::try_from(SIGNALED.saturating_add(signal as i32)).ok();
            }
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(code),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
