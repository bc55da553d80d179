//! What such a process may take, told to the kernel by that process itself before it reads a byte.

use std::io;

use clap::Args;
use rustix::process::{Resource, Rlimit, Signal, getppid, getrlimit, nice, set_parent_process_death_signal, setrlimit};

/// Where serving wants the processor too, it gets nine parts of ten.
const NICE_INCREMENT: i32 = 10;

/// Standard input, output and error.
const OPEN_FILES: u64 = 3;

/// Where memory runs out in spite of all bounds, the kernel takes this process first.
const OOM_SCORE: (&str, &str) = ("/proc/self/oom_score_adj", "1000");

/// What a process may take.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The most address space.
    #[arg(long)]
    pub memory_bytes: u64,
    /// The most time of the processor.
    #[arg(long)]
    pub cpu_seconds: u64,
    /// The process that started it. It does not outlive that one.
    #[arg(long)]
    pub parent: u32,
}

/// Takes from this process whatever it does not need in order to read, think and write, for good.
pub fn confine(bounds: &Bounds) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // Whoever died before we asked tells us nothing any more.
    if getppid().is_none_or(|parent| parent.as_raw_nonzero().get().cast_unsigned() != bounds.parent) {
        return Err(io::Error::other("who started it is gone"));
    }
    // Where either fails, it is only less polite.
    let _ = std::fs::write(OOM_SCORE.0, OOM_SCORE.1);
    let _ = nice(NICE_INCREMENT);
    // At the first of the two the kernel says why, at the second it says nothing.
    lower(Resource::Cpu, bounds.cpu_seconds, bounds.cpu_seconds.saturating_add(1))?;
    lower(Resource::Core, 0, 0)?;
    lower(Resource::Fsize, 0, 0)?;
    lower(Resource::Nproc, 0, 0)?;
    lower(Resource::Nofile, OPEN_FILES, OPEN_FILES)?;
    // A bound on data alone would leave out what is mapped; and nothing here maps what it does not use.
    lower(Resource::As, bounds.memory_bytes, bounds.memory_bytes)
}

/// It may be lower already.
fn lower(resource: Resource, current: u64, maximum: u64) -> io::Result<()> {
    let most = getrlimit(resource).maximum;
    let at_most = |to: u64| Some(most.map_or(to, |most| most.min(to)));
    let limit = Rlimit {
        current: at_most(current),
        maximum: at_most(maximum),
    };
    Ok(setrlimit(resource, limit)?)
}
