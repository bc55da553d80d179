//! A process of ours that does one thing with what a stranger brought, seen from the one that started it: told what to
//! do, watched, ended, and what became of it. What it may take is in `bounds`; what it does is for those who start it.

mod bounds;

use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

pub use bounds::{Bounds, confine};

/// How it says no to what was brought; why, stands on its standard output.
pub(crate) const EXIT_REJECTED: u8 = 65;
/// How it says that it has no memory left.
pub(crate) const OUT_OF_MEMORY: u8 = 71;

/// The program that runs just now, also where its file was replaced by that of a newer one since.
pub(super) const SELF_EXE: &str = "/proc/self/exe";

/// What Rust says when it has no memory left and gives up.
const OUT_OF_MEMORY_PREFIX: &str = "memory allocation of ";

/// More of its complaint tells nobody anything.
const MAX_STDERR_CHARS: u64 = 500;

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
    /// The longest from its start to its end. A process that waits uses no time of the processor.
    pub(super) timeout: Duration,
    /// The longest answer on its standard output.
    pub(super) max_answer_bytes: u64,
    /// What it is told on its standard input.
    pub(super) input: &'t (dyn Fn(&mut dyn Write) -> io::Result<()> + Sync),
}

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Refused(String),
    /// It used all its time of the processor, or its leash was pulled.
    TooLong,
    /// It did not end within the timeout of its task.
    TimedOut,
    TooMuch,
    Broken(String),
}

/// By which a process is ended from another thread, at any moment and before it is started too.
#[derive(Default)]
pub(super) struct KillHandle(Arc<Mutex<ChildState>>);

/// Ends the process when it is dropped.
pub(super) struct KillOnDrop(Arc<Mutex<ChildState>>);

#[derive(Default)]
struct ChildState {
    child: Option<Child>,
    stopped: Option<Stopped>,
}

/// Why the process was told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopped {
    Pulled,
    TimedOut,
}

/// Starts the process and waits for its end, on a thread that may block. It has to be the same thread for both: the
/// kernel tells the process of the end of the thread that started it. All pipes are served at the same time, for the
/// process may fill any of them before it goes on with another.
#[expect(
    clippy::disallowed_methods,
    reason = "pipes block, and the threads end with the process"
)]
pub(super) fn run(task: &Task<'_>, leash: &KillHandle) -> Result<Vec<u8>, Failure> {
    let not_started = |error: io::Error| Failure::Broken(format!("it could not be started: {error}"));
    let Some(pipes) = leash.start(&mut command(task)).map_err(not_started)? else {
        return Err(Failure::TooLong);
    };
    let Pipes {
        id,
        stdin,
        stdout,
        stderr,
    } = pipes;
    let (ended, end) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let threads = spawn(scope, "sandbox timeout", move || {
            if end.recv_timeout(task.timeout) == Err(RecvTimeoutError::Timeout) {
                leash.stop(Stopped::TimedOut);
            }
        })
        .and_then(|_| {
            let answer = spawn(scope, "sandbox stdout", move || read(stdout, task.max_answer_bytes))?;
            let complaint = spawn(scope, "sandbox stderr", move || read(stderr, MAX_STDERR_CHARS))?;
            Ok((answer, complaint))
        });
        if threads.is_err() {
            leash.stop(Stopped::Pulled);
        }
        if let Some(mut stdin) = stdin {
            // It fails where the process ended early, and why is told by its end.
            let _ = (task.input)(&mut stdin);
        }
        let end = leash.ended(id);
        drop(ended);
        let (answer, complaint) = threads.map_err(not_started)?;
        let (answer, complaint) = (joined(answer), joined(complaint));
        let (status, stopped) = end.map_err(|error| Failure::Broken(error.to_string()))?;
        let complaint = String::from_utf8_lossy(&complaint.bytes);
        if status.success() && answer.is_cut {
            let most = task.max_answer_bytes;
            return Err(Failure::Broken(format!("its answer is longer than {most} bytes")));
        }
        outcome(status, stopped, answer.bytes, &complaint)
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "pipes block, and the threads end with the process"
)]
fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> io::Result<ScopedJoinHandle<'scope, T>> {
    thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, work)
}

fn joined(thread: ScopedJoinHandle<'_, Output>) -> Output {
    thread.join().expect("reading into memory does not panic")
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

/// The beginning of what a process wrote.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    is_cut: bool,
}

/// Reads to the end and keeps the beginning, for a process whose pipe is closed or full cannot go on.
fn read(from: Option<impl Read>, keep_bytes: u64) -> Output {
    let mut output = Output::default();
    if let Some(mut from) = from {
        // What was read before it failed is what there is.
        let _ = from.by_ref().take(keep_bytes).read_to_end(&mut output.bytes);
        output.is_cut = io::copy(&mut from, &mut io::sink()).is_ok_and(|rest| rest > 0);
    }
    output
}

/// What its end means. That it was told to stop counts only where it did not end by itself.
fn outcome(
    status: ExitStatus,
    stopped: Option<Stopped>,
    written: Vec<u8>,
    complaint: &str,
) -> Result<Vec<u8>, Failure> {
    let (code, signal) = (status.code(), status.signal().and_then(Signal::from_named_raw));
    if status.success() {
        return Ok(written);
    }
    match stopped {
        Some(Stopped::TimedOut) => return Err(Failure::TimedOut),
        Some(Stopped::Pulled) => return Err(Failure::TooLong),
        None if signal == Some(Signal::XCPU) => return Err(Failure::TooLong),
        None => {}
    }
    if code == Some(OUT_OF_MEMORY.into()) || (signal == Some(Signal::ABORT) && complaint.contains(OUT_OF_MEMORY_PREFIX))
    {
        return Err(Failure::TooMuch);
    }
    if code == Some(EXIT_REJECTED.into()) {
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

impl KillHandle {
    pub(super) fn hold(&self) -> KillOnDrop {
        KillOnDrop(self.0.clone())
    }

    /// Nothing, if the leash was pulled before.
    fn start(&self, command: &mut Command) -> io::Result<Option<Pipes>> {
        let mut life = self.0.lock();
        if life.stopped.is_some() {
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

    /// Kills the process, or keeps it from being started. The first reason is the one that counts.
    fn stop(&self, why: Stopped) {
        let mut life = self.0.lock();
        life.stopped.get_or_insert(why);
        if let Some(child) = &mut life.child {
            // It fails only where the process has ended by itself.
            let _ = child.kill();
        }
    }

    /// Waits for its end, and says whether it was told to stop until then. It is left unburied until nobody can stop it
    /// any more, for its number may be another's afterwards.
    fn ended(&self, id: u32) -> io::Result<(ExitStatus, Option<Stopped>)> {
        let id = Pid::from_raw(id.cast_signed()).ok_or(io::ErrorKind::NotFound)?;
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        rustix::io::retry_on_intr(|| waitid(WaitId::Pid(id), options))?;
        // Whatever it started would keep its pipes open. It is the leader of its group, which is mostly empty now.
        let _ = kill_process_group(id, Signal::KILL);
        let mut life = self.0.lock();
        let mut child = life.child.take().ok_or(io::ErrorKind::NotFound)?;
        Ok((child.wait()?, life.stopped))
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        KillHandle(self.0.clone()).stop(Stopped::Pulled);
    }
}

/// A program for tests, in a folder that is removed when it is dropped.
#[cfg(test)]
pub(super) fn shell_script(commands: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("a folder for the script");
    let (text, program) = (folder.path().join("text"), folder.path().join("program"));
    std::fs::write(&text, format!("#!/bin/sh\n{commands}\n")).expect("it is writable");
    // Not by us: a child of another test could hold the file open for writing, and then it cannot be started.
    let mut install = Command::new("install");
    let installed = install.args(["-m", "755"]).args([&text, &program]).status();
    assert!(installed.expect("install is there").success());
    (folder, program)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// As `wait` tells it: a code, or a signal.
    fn ended(code: u8, signal: Option<Signal>, stopped: Option<Stopped>, complaint: &str) -> Result<Vec<u8>, Failure> {
        let raw = signal.map_or(i32::from(code) << 8, Signal::as_raw);
        outcome(ExitStatus::from_raw(raw), stopped, b"written".to_vec(), complaint)
    }

    #[test]
    fn each_end_has_its_meaning() {
        let broken = |why: &str| Err(Failure::Broken(why.to_owned()));
        assert_eq!(ended(0, None, None, ""), Ok(b"written".to_vec()));
        assert_eq!(
            ended(0, None, Some(Stopped::Pulled), ""),
            Ok(b"written".to_vec()),
            "pulled too late"
        );
        assert_eq!(
            ended(0, Some(Signal::KILL), Some(Stopped::Pulled), ""),
            Err(Failure::TooLong)
        );
        let timed_out = ended(0, Some(Signal::KILL), Some(Stopped::TimedOut), "");
        assert_eq!(timed_out, Err(Failure::TimedOut));
        assert_eq!(ended(0, Some(Signal::XCPU), None, ""), Err(Failure::TooLong));
        assert_eq!(
            ended(EXIT_REJECTED, None, None, ""),
            Err(Failure::Refused("written".to_owned()))
        );
        assert_eq!(ended(OUT_OF_MEMORY, None, None, ""), Err(Failure::TooMuch));
        let gave_up = "memory allocation of 80 bytes failed\n";
        assert_eq!(ended(0, Some(Signal::ABORT), None, gave_up), Err(Failure::TooMuch));
        assert_eq!(ended(70, None, None, "\nno\n luck"), broken("exit status: 70: no luck"));
        assert_eq!(ended(0, Some(Signal::KILL), None, ""), broken("signal: 9 (SIGKILL)"));
    }

    const MEBIBYTE: usize = 1 << 20;

    /// No test waits for this long.
    const PATIENT: Duration = Duration::from_secs(60);

    fn task(program: &Path) -> Task<'_> {
        Task {
            program,
            command: "compile",
            memory_bytes: 1 << 30,
            cpu_seconds: 60,
            timeout: PATIENT,
            max_answer_bytes: 4 << 20,
            input: &|to| to.write_all(b"input"),
        }
    }

    #[test]
    fn a_child_that_fills_stderr_before_stdout_is_heard_to_its_end() {
        let (_folder, program) = shell_script("head -c 1048576 /dev/zero | tr '\\0' x >&2; cat");
        assert_eq!(run(&task(&program), &KillHandle::default()), Ok(b"input".to_vec()));
    }

    #[test]
    fn a_child_that_writes_before_it_reads_its_input_is_heard_to_its_end() {
        let (_folder, program) = shell_script("head -c 1048576 /dev/zero; cat");
        let input = |to: &mut dyn Write| to.write_all(&[1; MEBIBYTE]);
        let task = Task {
            input: &input,
            ..task(&program)
        };
        let written = run(&task, &KillHandle::default()).expect("it ends well");
        assert_eq!(written.len(), 2 * MEBIBYTE);
    }

    #[test]
    fn a_child_that_does_not_end_is_killed_at_its_timeout_whatever_it_does_with_its_pipes() {
        for commands in [
            "exec sleep 1000",
            "exec sleep 1000 <&- >&- 2>&-",
            "while :; do echo busy; done",
            "while :; do echo busy >&2; done",
        ] {
            let (_folder, program) = shell_script(commands);
            let input = |to: &mut dyn Write| to.write_all(&[1; MEBIBYTE]);
            let task = Task {
                timeout: Duration::from_millis(300),
                input: &input,
                ..task(&program)
            };
            let began = Instant::now();
            assert_eq!(run(&task, &KillHandle::default()), Err(Failure::TimedOut), "{commands}");
            assert!(began.elapsed() < PATIENT, "{commands}");
        }
    }

    #[test]
    fn what_a_child_leaves_behind_is_not_waited_for() {
        let (_folder, program) = shell_script("sleep 1000 & cat");
        let began = Instant::now();
        assert_eq!(run(&task(&program), &KillHandle::default()), Ok(b"input".to_vec()));
        assert!(began.elapsed() < PATIENT);
    }

    #[test]
    fn an_answer_that_is_too_long_is_none() {
        let (_folder, program) = shell_script("head -c 101 /dev/zero");
        let task = Task {
            max_answer_bytes: 100,
            ..task(&program)
        };
        let why = "its answer is longer than 100 bytes".to_owned();
        assert_eq!(run(&task, &KillHandle::default()), Err(Failure::Broken(why)));
        let (_folder, program) = shell_script("head -c 100 /dev/zero");
        let task = Task {
            program: &program,
            ..task
        };
        assert_eq!(run(&task, &KillHandle::default()), Ok(vec![0; 100]));
    }

    #[test]
    fn a_leash_that_was_pulled_before_starts_nothing() {
        let leash = KillHandle::default();
        drop(leash.hold());
        let started = leash.start(&mut Command::new("/there/is/no/such/program"));
        assert!(started.expect("it was not even tried").is_none());
    }
}
