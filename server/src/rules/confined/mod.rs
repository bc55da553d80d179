//! A process of ours that does one thing with what a stranger brought, seen from the one that started it: told what to
//! do, watched, ended, and what became of it. What it may take is in `bounds`; what it does is for those who start it.

mod bounds;

use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};

pub use bounds::{Bounds, confine};

/// How it says no to what was brought; why, stands on its standard output.
pub(crate) const REFUSED: u8 = 65;
/// How it says that it has no memory left.
pub(crate) const OUT_OF_MEMORY: u8 = 71;

/// The program that runs just now, also where its file was replaced by that of a newer one since.
pub(super) const OURSELVES: &str = "/proc/self/exe";

/// What Rust says when it has no memory left and gives up.
const GAVE_UP: &str = "memory allocation of ";

/// More of its complaint tells nobody anything.
const LONGEST_COMPLAINT: usize = 500;

/// What it is started for.
pub(super) struct Task<'t> {
    /// Which Watchpost.
    pub(super) program: &'t Path,
    /// Which of the commands under `watchpost rules`.
    pub(super) command: &'static str,
    /// The most address space.
    pub(super) memory_bytes: u64,
    /// The most time of the processor.
    pub(super) cpu_seconds: u64,
    /// What it is told on its standard input.
    pub(super) input: &'t dyn Fn(&mut dyn Write) -> io::Result<()>,
}

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Refused(String),
    TooLong,
    TooMuch,
    Broken(String),
}

/// By which a process is ended from another thread, at any moment and before it is started too.
#[derive(Default)]
pub(super) struct Leash(Arc<Mutex<Life>>);

/// Ends the process when it is dropped.
pub(super) struct Held(Arc<Mutex<Life>>);

#[derive(Default)]
struct Life {
    child: Option<Child>,
    pulled: bool,
}

/// Starts the process and waits for its end, on a thread that may block. It has to be the same thread for both: the
/// kernel tells the process of the end of the thread that started it.
pub(super) fn run(task: &Task<'_>, leash: &Leash) -> Result<Vec<u8>, Failure> {
    let not_started = |error: io::Error| Failure::Broken(format!("it could not be started: {error}"));
    let Some(mut pipes) = leash.start(&mut command(task)).map_err(not_started)? else {
        return Err(Failure::TooLong);
    };
    // Whatever fails from here on fails because it ended early, and why is told by its end.
    if let Some(mut stdin) = pipes.stdin.take() {
        let _ = (task.input)(&mut stdin);
    }
    let written = up_to(pipes.stdout.take(), task.memory_bytes);
    let complaint = up_to(pipes.stderr.take(), LONGEST_COMPLAINT as u64);
    let (status, pulled) = leash
        .ended(pipes.id)
        .map_err(|error| Failure::Broken(error.to_string()))?;
    outcome(status, pulled, written, &String::from_utf8_lossy(&complaint))
}

fn command(task: &Task<'_>) -> Command {
    let mut command = Command::new(task.program);
    command
        .arg0("watchpost")
        .args(["rules", task.command])
        .args(["--memory-bytes", &task.memory_bytes.to_string()])
        .args(["--cpu-seconds", &task.cpu_seconds.to_string()])
        .args(["--parent", &std::process::id().to_string()])
        .env_clear()
        .current_dir("/")
        // What a terminal says to us is not for it.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn up_to(from: Option<impl Read>, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        // What was read before it failed is what there is.
        let _ = from.take(most).read_to_end(&mut bytes);
    }
    bytes
}

/// What its end means. A pulled leash counts only where it did something.
fn outcome(status: ExitStatus, pulled: bool, written: Vec<u8>, complaint: &str) -> Result<Vec<u8>, Failure> {
    let (code, signal) = (status.code(), status.signal().and_then(Signal::from_named_raw));
    if status.success() {
        return Ok(written);
    }
    if pulled || signal == Some(Signal::XCPU) {
        return Err(Failure::TooLong);
    }
    if code == Some(OUT_OF_MEMORY.into()) || (signal == Some(Signal::ABORT) && complaint.contains(GAVE_UP)) {
        return Err(Failure::TooMuch);
    }
    if code == Some(REFUSED.into()) {
        return Err(Failure::Refused(String::from_utf8_lossy(&written).into_owned()));
    }
    let lines = complaint.lines().map(str::trim).filter(|line| !line.is_empty());
    let why = lines.collect::<Vec<_>>().join(" ");
    let end = status.to_string();
    Err(Failure::Broken(if why.is_empty() {
        end
    } else {
        format!("{end}: {why}")
    }))
}

/// The ends of its pipes that are ours.
struct Pipes {
    id: u32,
    stdin: Option<std::process::ChildStdin>,
    stdout: Option<std::process::ChildStdout>,
    stderr: Option<std::process::ChildStderr>,
}

impl Leash {
    pub(super) fn hold(&self) -> Held {
        Held(self.0.clone())
    }

    /// Nothing, if the leash was pulled before.
    fn start(&self, command: &mut Command) -> io::Result<Option<Pipes>> {
        let mut life = self.0.lock();
        if life.pulled {
            return Ok(None);
        }
        let mut child = command.spawn()?;
        let pipes = Pipes {
            id: child.id(),
            stdin: child.stdin.take(),
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
        };
        life.child = Some(child);
        Ok(Some(pipes))
    }

    /// Waits for its end, and says whether the leash was pulled until then. It is left unburied until nobody can pull
    /// any more, for its number may be another's afterwards.
    fn ended(&self, id: u32) -> io::Result<(ExitStatus, bool)> {
        let id = Pid::from_raw(id.cast_signed()).ok_or(io::ErrorKind::NotFound)?;
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        rustix::io::retry_on_intr(|| waitid(WaitId::Pid(id), options))?;
        let mut life = self.0.lock();
        let mut child = life.child.take().ok_or(io::ErrorKind::NotFound)?;
        Ok((child.wait()?, life.pulled))
    }
}

impl Held {
    pub(super) fn pull(&self) {
        let mut life = self.0.lock();
        life.pulled = true;
        if let Some(child) = &mut life.child {
            // It fails only where the process has ended by itself.
            let _ = child.kill();
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.pull();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `wait` tells it: a code, or a signal.
    fn ended(code: u8, signal: Option<Signal>, pulled: bool, complaint: &str) -> Result<Vec<u8>, Failure> {
        let raw = signal.map_or(i32::from(code) << 8, Signal::as_raw);
        outcome(ExitStatus::from_raw(raw), pulled, b"written".to_vec(), complaint)
    }

    #[test]
    fn each_end_has_its_meaning() {
        let broken = |why: &str| Err(Failure::Broken(why.to_owned()));
        assert_eq!(ended(0, None, false, ""), Ok(b"written".to_vec()));
        assert_eq!(ended(0, None, true, ""), Ok(b"written".to_vec()), "pulled too late");
        assert_eq!(ended(0, Some(Signal::KILL), true, ""), Err(Failure::TooLong));
        assert_eq!(ended(0, Some(Signal::XCPU), false, ""), Err(Failure::TooLong));
        assert_eq!(
            ended(REFUSED, None, false, ""),
            Err(Failure::Refused("written".to_owned()))
        );
        assert_eq!(ended(OUT_OF_MEMORY, None, false, ""), Err(Failure::TooMuch));
        let gave_up = "memory allocation of 80 bytes failed\n";
        assert_eq!(ended(0, Some(Signal::ABORT), false, gave_up), Err(Failure::TooMuch));
        assert_eq!(
            ended(70, None, false, "\nno\n luck"),
            broken("exit status: 70: no luck")
        );
        assert_eq!(ended(0, Some(Signal::KILL), false, ""), broken("signal: 9 (SIGKILL)"));
    }

    #[test]
    fn a_leash_that_was_pulled_before_starts_nothing() {
        let leash = Leash::default();
        drop(leash.hold());
        let started = leash.start(&mut Command::new("/there/is/no/such/program"));
        assert!(started.expect("it was not even tried").is_none());
    }
}
