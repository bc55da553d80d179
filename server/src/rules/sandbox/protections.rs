//! Takes from the sandbox process what limits leave it: files, sockets, other processes, and new executable memory. The
//! process does this to itself before it reads its input, and nothing gives any of it back. Resources are in `bounds`.

use std::collections::BTreeMap;
use std::io;

use landlock::{ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus, Scope};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::set_no_new_privs;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The newest version of Landlock's interface that this program knows. Older kernels enforce what they have of it.
const LANDLOCK: ABI = ABI::V7;

/// What protects the server from a process that runs untrusted input, besides limits of its resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Protections {
    /// Whether a filter allows only the system calls for memory, standard input and standard output.
    pub seccomp: bool,
    /// How much of Landlock the kernel enforces: no access to files, ports and sockets, and no signals to others.
    pub landlock: LandlockLevel,
}

/// How much of Landlock the kernel enforces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LandlockLevel {
    /// All rights that this program knows are taken away.
    Full,
    /// The kernel is older and lacks some of them.
    Partial,
    /// The kernel has no Landlock, or it is turned off.
    None,
}

/// Takes away access to files, ports, sockets and other processes, and the way to get more rights. An error means that
/// the input must not be read.
pub(super) fn restrict_access() -> io::Result<LandlockLevel> {
    // Another process of this user can neither attach to it nor read its memory.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    set_no_new_privs(true)?;
    landlock()
}

/// Filters system calls from now on; `false` if no filter exists for this processor.
pub(super) fn filter_system_calls() -> io::Result<bool> {
    let Ok(arch) = TargetArch::try_from(std::env::consts::ARCH) else {
        return Ok(false);
    };
    let filter = filter(arch).map_err(io::Error::other)?;
    apply_filter(&filter).map_err(io::Error::other)?;
    Ok(true)
}

/// A ruleset without rules: everything that it handles is denied.
fn landlock() -> io::Result<LandlockLevel> {
    let restricted = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(LANDLOCK))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(LANDLOCK)))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(LANDLOCK)))
        .and_then(Ruleset::create)
        .and_then(landlock::RulesetCreated::restrict_self);
    Ok(match restricted.map_err(io::Error::other)?.ruleset {
        RulesetStatus::FullyEnforced => LandlockLevel::Full,
        RulesetStatus::PartiallyEnforced => LandlockLevel::Partial,
        RulesetStatus::NotEnforced => LandlockLevel::None,
    })
}

/// The system calls of a program that reads its input, computes with its own memory, and writes a result. All others
/// fail with `EPERM`, and do not kill the process: a newer C library may try one and use another if that fails.
fn filter(arch: TargetArch) -> Result<BpfProgram, seccompiler::BackendError> {
    let free = [
        libc::SYS_read,
        libc::SYS_readv,
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_close,
        libc::SYS_fstat,
        libc::SYS_brk,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_futex,
        libc::SYS_getrandom,
        libc::SYS_clock_gettime,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_sched_getaffinity,
        libc::SYS_sched_yield,
        libc::SYS_sigaltstack,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_restart_syscall,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ];
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = free.map(|call| (call, Vec::new())).into();
    let executable = u64::from(libc::PROT_EXEC.cast_unsigned());
    let not_executable = SeccompCondition::new(2, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(executable), 0)?;
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![SeccompRule::new(vec![not_executable.clone()])?]);
    }
    // `abort` sends a signal to its own process, and nothing may send one to another.
    let own = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, std::process::id().into())?;
    rules.insert(libc::SYS_tgkill, vec![SeccompRule::new(vec![own])?]);
    let denied = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    SeccompFilter::new(rules, denied, SeccompAction::Allow, arch)?.try_into()
}
