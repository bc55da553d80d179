//! Limits the resources of the sandbox process. The process applies them to itself before it reads its input.

use std::io;

use clap::Args;
use rustix::process::{Resource, Rlimit, Signal, getppid, getrlimit, nice, set_parent_process_death_signal, setrlimit};

use super::protections::{LandlockLevel, Protections, filter_system_calls, restrict_access};

/// When the server needs the processor too, it gets nine tenths of it.
const NICE_INCREMENT: i32 = 10;

/// Standard input, output and error.
const OPEN_FILES: u64 = 3;

/// If memory runs out despite all limits, the kernel kills this process first.
const OOM_SCORE: (&str, &str) = ("/proc/self/oom_score_adj", "1000");

/// Resource limits of the process.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourceLimits {
    /// Address space limit, in bytes.
    #[arg(long)]
    pub memory_bytes: u64,
    /// Processor time limit, in seconds.
    #[arg(long)]
    pub cpu_seconds: u64,
    /// Process id of the parent. The process does not outlive its parent.
    #[arg(long)]
    pub parent: u32,
}

/// Limits this process irrevocably to reading its input, computing and writing its result.
pub fn confine(bounds: &ResourceLimits) -> io::Result<Protections> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // No signal is sent if the parent died before the request above.
    if getppid().is_none_or(|parent| parent.as_raw_nonzero().get().cast_unsigned() != bounds.parent) {
        return Err(io::Error::other("the parent process has ended"));
    }
    // A failure of either only affects scheduling.
    let _ = std::fs::write(OOM_SCORE.0, OOM_SCORE.1);
    let _ = nice(NICE_INCREMENT);
    // Landlock needs a file descriptor, so it comes before the limit of them; the filter comes last, because it forbids
    // changes of limits.
    let landlock = restrict_access()?;
    // At the soft limit the kernel sends SIGXCPU, which names the reason; at the hard limit it sends SIGKILL.
    lower(Resource::Cpu, bounds.cpu_seconds, bounds.cpu_seconds.saturating_add(1))?;
    lower(Resource::Core, 0, 0)?;
    lower(Resource::Fsize, 0, 0)?;
    lower(Resource::Nproc, 0, 0)?;
    lower(Resource::Nofile, OPEN_FILES, OPEN_FILES)?;
    // A limit on data alone would not include mapped memory; and this process maps nothing that it does not use.
    lower(Resource::As, bounds.memory_bytes, bounds.memory_bytes)?;
    let seccomp = filter_system_calls()?;
    if !seccomp && landlock == LandlockLevel::None {
        return Err(io::Error::other(
            "there is no filter of system calls for this processor, and the kernel has no Landlock; use a kernel with Landlock",
        ));
    }
    Ok(Protections { seccomp, landlock })
}

/// Lowers a limit; a lower one stays.
fn lower(resource: Resource, current: u64, maximum: u64) -> io::Result<()> {
    let current_max = getrlimit(resource).maximum;
    let bounded = |to: u64| Some(current_max.map_or(to, |current_max| current_max.min(to)));
    let limit = Rlimit {
        current: bounded(current),
        maximum: bounded(maximum),
    };
    Ok(setrlimit(resource, limit)?)
}
