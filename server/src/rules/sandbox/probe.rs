//! Reports what a sandboxed process cannot do on this machine, by trying it in one: kernels and containers differ. The
//! result is for operators; each process protects itself again, and refuses its input if that fails.

use std::fs::File;
use std::io;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Failure, KillHandle, LandlockLevel, Protections, SELF_EXE, Task};
use crate::tasks;

const MEMORY_BYTES: u64 = 1 << 30;
const CPU_SECONDS: u64 = 2;

/// Wall-clock limit. The process takes milliseconds; a busy machine takes longer to start it.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The JSON of a report, several times over.
const MAX_REPORT_BYTES: u64 = 4096;

/// What a sandboxed process can do on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SandboxReport {
    /// The protections that it has.
    #[serde(flatten)]
    #[schema(inline)]
    pub protections: Protections,
    /// What it can do and should not. Empty if the sandbox is complete.
    pub allowed: Vec<String>,
}

/// The report of this machine, once it is known.
#[derive(Clone, Default)]
pub struct SandboxProbe(Arc<OnceLock<SandboxReport>>);

impl SandboxProbe {
    /// Probes once in the background, and logs what is missing.
    pub fn start(&self) {
        let known = self.0.clone();
        tasks::spawn_detached("sandbox probe", async move {
            match tasks::block(SandboxReport::of_this_machine).await {
                Ok(Ok(report)) => {
                    if let Some(missing) = report.missing() {
                        log::warn!("{missing}");
                    }
                    let _ = known.set(report);
                }
                Ok(Err(reason)) => log::warn!(reason:%; "the sandbox of the compiler could not be probed"),
                Err(panic) => log::error!(panic:%; "the sandbox of the compiler could not be probed"),
            }
        });
    }

    /// `None` until the probe has ended, or if it failed.
    pub fn report(&self) -> Option<SandboxReport> {
        self.0.get().cloned()
    }
}

impl SandboxReport {
    /// A sentence about what the sandbox of this machine lacks, if anything.
    pub fn missing(&self) -> Option<String> {
        let mut lacks = Vec::new();
        if !self.protections.seccomp {
            lacks.push("there is no filter of system calls for this processor".to_owned());
        }
        if self.protections.landlock == LandlockLevel::None {
            lacks
                .push("the kernel has no Landlock (Linux 5.13 or newer, with landlock in its list of LSMs)".to_owned());
        }
        if !self.allowed.is_empty() {
            lacks.push(format!("the process can {}", self.allowed.join(", ")));
        }
        let lacks = (!lacks.is_empty()).then(|| lacks.join("; "))?;
        Some(format!(
            "the sandbox that compiles uploaded rules is incomplete: {lacks}"
        ))
    }

    /// Starts a sandboxed process and returns its report. The error says why there is none.
    pub fn of_this_machine() -> Result<Self, String> {
        Self::by_program(Path::new(SELF_EXE))
    }

    fn by_program(program: &Path) -> Result<Self, String> {
        let task = Task {
            program,
            command: "probe-sandbox",
            memory_bytes: MEMORY_BYTES,
            cpu_seconds: CPU_SECONDS,
            timeout: TIMEOUT,
            max_answer_bytes: MAX_REPORT_BYTES,
            input: &|_| Ok(()),
        };
        match super::run(&task, &KillHandle::default()) {
            Ok(report) => serde_json::from_slice(&report).map_err(|_| "its report is not valid".to_owned()),
            Err(Failure::Refused(reason) | Failure::Broken(reason)) => Err(reason),
            Err(Failure::TooLong | Failure::TimedOut) => Err(format!("it did not end within {TIMEOUT:?}")),
            Err(Failure::TooMuch) => Err("it needed too much memory".to_owned()),
        }
    }

    /// Tries what this process, which has these protections, should not be able to do.
    pub(crate) fn of_this_process(protections: Protections, parent: u32) -> Self {
        let attempts: [(&str, io::Result<()>); 4] = [
            ("read files", File::open("/").map(drop)),
            ("create sockets", UdpSocket::bind(("127.0.0.1", 0)).map(drop)),
            ("start processes", start_process()),
            ("send signals to the server", signal(parent)),
        ];
        let denied = [io::ErrorKind::PermissionDenied, io::ErrorKind::Unsupported];
        let is_allowed = |result: &io::Result<()>| match result {
            Ok(()) => true,
            // Any other error, such as too many open files, comes from a limit that the process can get around.
            Err(error) => !denied.contains(&error.kind()),
        };
        let allowed = attempts.iter().filter(|(_, result)| is_allowed(result));
        Self {
            protections,
            allowed: allowed.map(|(attempt, _)| (*attempt).to_owned()).collect(),
        }
    }
}

fn start_process() -> io::Result<()> {
    let mut command = Command::new(SELF_EXE);
    let command = command
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().map(drop)
}

fn signal(process: u32) -> io::Result<()> {
    let process = Pid::from_raw(process.cast_signed()).ok_or(io::ErrorKind::NotFound)?;
    Ok(test_kill_process(process)?)
}
