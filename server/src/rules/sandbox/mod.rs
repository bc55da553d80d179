//! Runs a Watchpost subcommand on untrusted input in a separate process: starts it, passes its input, enforces the
//! timeout and interprets its end. `bounds` limits its resources, `protections` takes its rights; the callers define its
//! work.

mod bounds;
pub mod probe;
mod protections;

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

pub use bounds::{ResourceLimits, confine};
pub use protections::{LandlockLevel, Protections};

/// Exit code for rejected input; the reason is on standard output.
pub(crate) const EXIT_REJECTED: u8 = 65;
/// Exit code for lack of memory.
pub(crate) const OUT_OF_MEMORY: u8 = 71;

/// The running executable, even if its file was replaced since.
pub(super) const SELF_EXE: &str = "/proc/self/exe";

/// The message with which Rust aborts when an allocation fails.
const OUT_OF_MEMORY_PREFIX: &str = "memory allocation of ";

/// Maximum length of its error output in a message.
const MAX_STDERR_CHARS: u64 = 500;

/// A task for a sandbox process.
pub(super) struct Task<'t> {
    /// Path of the Watchpost executable.
    pub(super) program: &'t Path,
    /// The subcommand of `watchpost rules`.
    pub(super) command: &'static str,
    /// Address space limit.
    pub(super) memory_bytes: u64,
    /// Processor time limit.
    pub(super) cpu_seconds: u64,
    /// Wall-clock limit. A blocked process uses no processor time.
    pub(super) timeout: Duration,
    /// Maximum size of the result on its standard output.
    pub(super) max_answer_bytes: u64,
    /// Writes its standard input.
    pub(super) input: &'t (dyn Fn(&mut dyn Write) -> io::Result<()> + Sync),
}

/// Why there is no result.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Refused(String),
    /// The processor time limit was exceeded, or the process was killed by its [`KillHandle`].
    TooLong,
    /// The process exceeded the timeout of its task.
    TimedOut,
    TooMuch,
    Broken(String),
}

/// Kills a process from another thread, at any moment, even before its start.
#[derive(Default)]
pub(super) struct KillHandle(Arc<Mutex<ChildState>>);

/// Kills the process when it is dropped.
pub(super) struct KillOnDrop(Arc<Mutex<ChildState>>);

#[derive(Default)]
struct ChildState {
    child: Option<Child>,
    stopped: Option<Stopped>,
}

/// Why the process was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopped {
    Killed,
    TimedOut,
}

/// Starts the process and waits for its end, on one thread that may block: the kernel signals the process when the
/// thread that started it ends. All pipes are served concurrently, because the process may fill any of them first.
#[expect(
    clippy::disallowed_methods,
    reason = "pipes block, and the threads end with the process"
)]
pub(super) fn run(task: &Task<'_>, kill_handle: &KillHandle) -> Result<Vec<u8>, Failure> {
    let not_started = |error: io::Error| Failure::Broken(format!("the process could not be started: {error}"));
    let Some(pipes) = kill_handle.start(&mut command(task)).map_err(not_started)? else {
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
                kill_handle.stop(Stopped::TimedOut);
            }
        })
        .and_then(|_| {
            let result = spawn(scope, "sandbox stdout", move || read(stdout, task.max_answer_bytes))?;
            let error_output = spawn(scope, "sandbox stderr", move || read(stderr, MAX_STDERR_CHARS))?;
            Ok((result, error_output))
        });
        if threads.is_err() {
            kill_handle.stop(Stopped::Killed);
        }
        if let Some(mut stdin) = stdin {
            // Fails if the process ended early; its exit status has the reason.
            let _ = (task.input)(&mut stdin);
        }
        let end = kill_handle.ended(id);
        drop(ended);
        let (result, error_output) = threads.map_err(not_started)?;
        let (result, error_output) = (joined(result), joined(error_output));
        let (status, stopped) = end.map_err(|error| Failure::Broken(error.to_string()))?;
        let error_output = String::from_utf8_lossy(&error_output.bytes);
        if status.success() && result.is_cut {
            let max = task.max_answer_bytes;
            return Err(Failure::Broken(format!("its result is longer than {max} bytes")));
        }
        outcome(status, stopped, result.bytes, &error_output)
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
        // Signals of a terminal to the server do not reach this process.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The beginning of the output of a process.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    is_cut: bool,
}

/// Reads to the end and keeps the beginning, because a process blocks on a full pipe.
fn read(from: Option<impl Read>, keep_bytes: u64) -> Output {
    let mut output = Output::default();
    if let Some(mut from) = from {
        // After an error, the output read so far counts.
        let _ = from.by_ref().take(keep_bytes).read_to_end(&mut output.bytes);
        output.is_cut = io::copy(&mut from, &mut io::sink()).is_ok_and(|rest| rest > 0);
    }
    output
}

/// Interprets the exit status. A kill counts only if the process did not end before.
fn outcome(
    status: ExitStatus,
    stopped: Option<Stopped>,
    written: Vec<u8>,
    error_output: &str,
) -> Result<Vec<u8>, Failure> {
    let (code, signal) = (status.code(), status.signal().and_then(Signal::from_named_raw));
    if status.success() {
        return Ok(written);
    }
    match stopped {
        Some(Stopped::TimedOut) => return Err(Failure::TimedOut),
        Some(Stopped::Killed) => return Err(Failure::TooLong),
        None if signal == Some(Signal::XCPU) => return Err(Failure::TooLong),
        None => {}
    }
    if code == Some(OUT_OF_MEMORY.into())
        || (signal == Some(Signal::ABORT) && error_output.contains(OUT_OF_MEMORY_PREFIX))
    {
        return Err(Failure::TooMuch);
    }
    if code == Some(EXIT_REJECTED.into()) {
        return Err(Failure::Refused(String::from_utf8_lossy(&written).into_owned()));
    }
    let lines = error_output.lines().map(str::trim).filter(|line| !line.is_empty());
    let reason = lines.collect::<Vec<_>>().join(" ");
    let end = status.to_string();
    Err(Failure::Broken(if reason.is_empty() {
        end
    } else {
        format!("{end}: {reason}")
    }))
}

/// The parent's ends of the pipes.
struct Pipes {
    id: u32,
    stdin: Option<std::process::ChildStdin>,
    stdout: Option<std::process::ChildStdout>,
    stderr: Option<std::process::ChildStderr>,
}

impl KillHandle {
    pub(super) fn kill_on_drop(&self) -> KillOnDrop {
        KillOnDrop(self.0.clone())
    }

    /// `None` if the process was killed before its start.
    fn start(&self, command: &mut Command) -> io::Result<Option<Pipes>> {
        let mut state = self.0.lock();
        if state.stopped.is_some() {
            return Ok(None);
        }
        let mut child = command.spawn()?;
        let pipes = Pipes {
            id: child.id(),
            stdin: child.stdin.take(),
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
        };
        state.child = Some(child);
        Ok(Some(pipes))
    }

    /// Kills the process or prevents its start. The first reason is kept.
    fn stop(&self, reason: Stopped) {
        let mut state = self.0.lock();
        state.stopped.get_or_insert(reason);
        if let Some(child) = &mut state.child {
            // Fails only if the process has ended already.
            let _ = child.kill();
        }
    }

    /// Waits for the end of the process, and returns why it was killed, if it was. The process is reaped last, when no
    /// other thread can kill it, because its id may be reused afterwards.
    fn ended(&self, id: u32) -> io::Result<(ExitStatus, Option<Stopped>)> {
        let id = Pid::from_raw(id.cast_signed()).ok_or(io::ErrorKind::NotFound)?;
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        rustix::io::retry_on_intr(|| waitid(WaitId::Pid(id), options))?;
        // Child processes would keep its pipes open. The process leads a group, which is usually empty now.
        let _ = kill_process_group(id, Signal::KILL);
        let mut state = self.0.lock();
        let mut child = state.child.take().ok_or(io::ErrorKind::NotFound)?;
        Ok((child.wait()?, state.stopped))
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        KillHandle(self.0.clone()).stop(Stopped::Killed);
    }
}

/// A shell script for tests, in a folder that is removed on drop.
#[cfg(test)]
pub(super) fn shell_script(commands: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("a folder for the script");
    let (text, program) = (folder.path().join("text"), folder.path().join("program"));
    std::fs::write(&text, format!("#!/bin/sh\n{commands}\n")).expect("it is writable");
    // Not written by this process: a child of another test could inherit the open file, and then the script cannot be
    // started.
    let mut install = Command::new("install");
    let installed = install.args(["-m", "755"]).args([&text, &program]).status();
    assert!(installed.expect("install exists").success());
    (folder, program)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// An outcome for a raw wait status: a code, or a signal.
    fn ended(
        code: u8,
        signal: Option<Signal>,
        stopped: Option<Stopped>,
        error_output: &str,
    ) -> Result<Vec<u8>, Failure> {
        let raw = signal.map_or(i32::from(code) << 8, Signal::as_raw);
        outcome(ExitStatus::from_raw(raw), stopped, b"written".to_vec(), error_output)
    }

    #[test]
    fn each_end_has_its_meaning() {
        let broken = |reason: &str| Err(Failure::Broken(reason.to_owned()));
        assert_eq!(ended(0, None, None, ""), Ok(b"written".to_vec()));
        assert_eq!(
            ended(0, None, Some(Stopped::Killed), ""),
            Ok(b"written".to_vec()),
            "killed too late"
        );
        assert_eq!(
            ended(0, Some(Signal::KILL), Some(Stopped::Killed), ""),
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

    /// No test takes this long.
    const LONG_TIMEOUT: Duration = Duration::from_secs(60);

    fn task(program: &Path) -> Task<'_> {
        Task {
            program,
            command: "compile",
            memory_bytes: 1 << 30,
            cpu_seconds: 60,
            timeout: LONG_TIMEOUT,
            max_answer_bytes: 4 << 20,
            input: &|to| to.write_all(b"input"),
        }
    }

    #[test]
    fn a_child_that_fills_stderr_before_stdout_is_read_to_its_end() {
        let (_folder, program) = shell_script("head -c 1048576 /dev/zero | tr '\\0' x >&2; cat");
        assert_eq!(run(&task(&program), &KillHandle::default()), Ok(b"input".to_vec()));
    }

    #[test]
    fn a_child_that_writes_before_it_reads_its_input_is_read_to_its_end() {
        let (_folder, program) = shell_script("head -c 1048576 /dev/zero; cat");
        let input = |to: &mut dyn Write| to.write_all(&[1; MEBIBYTE]);
        let task = Task {
            input: &input,
            ..task(&program)
        };
        let written = run(&task, &KillHandle::default()).expect("it succeeds");
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
            assert!(began.elapsed() < LONG_TIMEOUT, "{commands}");
        }
    }

    #[test]
    fn processes_left_by_a_child_are_not_waited_for() {
        let (_folder, program) = shell_script("sleep 1000 & cat");
        let began = Instant::now();
        assert_eq!(run(&task(&program), &KillHandle::default()), Ok(b"input".to_vec()));
        assert!(began.elapsed() < LONG_TIMEOUT);
    }

    #[test]
    fn a_result_over_the_size_limit_is_an_error() {
        let (_folder, program) = shell_script("head -c 101 /dev/zero");
        let task = Task {
            max_answer_bytes: 100,
            ..task(&program)
        };
        let reason = "its result is longer than 100 bytes".to_owned();
        assert_eq!(run(&task, &KillHandle::default()), Err(Failure::Broken(reason)));
        let (_folder, program) = shell_script("head -c 100 /dev/zero");
        let task = Task {
            program: &program,
            ..task
        };
        assert_eq!(run(&task, &KillHandle::default()), Ok(vec![0; 100]));
    }

    #[test]
    fn a_kill_before_the_start_prevents_it() {
        let kill_handle = KillHandle::default();
        drop(kill_handle.kill_on_drop());
        let started = kill_handle.start(&mut Command::new("/there/is/no/such/program"));
        assert!(started.expect("no start was attempted").is_none());
    }
}
