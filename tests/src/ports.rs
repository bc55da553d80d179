//! Ports for programs that cannot bind port 0. They are below the ephemeral range, so the system gives them to no other
//! program while their program is stopped. Only binding shows whether a port is free: otherwise the program exits and
//! is started on the next port.

use std::process::Child;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::server::eventually;

/// A port without a listener: it is reserved for system services.
pub const CLOSED: u16 = 1;

/// Above the ports of well-known services, and below the ephemeral range of Linux.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// More attempts than other programs use consecutive ports.
const ATTEMPTS: usize = 50;

/// Starts a program on one port after another until it can bind one; `is_ready` detects that from its output or files.
#[track_caller]
pub fn started(what: &str, mut start: impl FnMut(u16) -> Child, mut is_ready: impl FnMut(u16) -> bool) -> (Child, u16) {
    for _ in 0..ATTEMPTS {
        let port = next();
        if let Some(child) = ready(what, start(port), || is_ready(port)) {
            return (child, port);
        }
    }
    panic!("{what} ended on each of {ATTEMPTS} ports");
}

/// The program when it is ready, or `None` when it has exited.
#[track_caller]
pub fn ready(what: &str, mut child: Child, mut is_ready: impl FnMut() -> bool) -> Option<Child> {
    let is_ready = eventually(what, || {
        if child.try_wait().expect("it is ours").is_some() {
            return Some(false);
        }
        is_ready().then_some(true)
    });
    is_ready.then_some(child)
}

/// The next port to try; unique within a process, and rarely the same in two processes.
fn next() -> u16 {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let given = u32::from(GIVEN.fetch_add(1, Ordering::Relaxed));
    let first = std::process::id().wrapping_mul(61);
    let offset = first.wrapping_add(given) % u32::from(COUNT);
    FIRST + u16::try_from(offset).expect("it is below COUNT")
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_program_that_ends_is_started_on_another_port() {
        let tried = RefCell::new(Vec::new());
        let start = |port: u16| {
            tried.borrow_mut().push(port);
            let seconds = if tried.borrow().len() < 3 { "0" } else { "60" };
            Command::new("sleep").arg(seconds).spawn().expect("sleep is there")
        };
        let (mut child, port) = started("sleep", start, |_| tried.borrow().len() == 3);
        child.kill().expect("it is ours");
        child.wait().expect("it ends");
        let tried = tried.into_inner();
        assert_eq!(tried[2], port);
        assert!(tried[0] != tried[1] && tried[1] != tried[2], "{tried:?}");
        assert!(tried.iter().all(|port| (FIRST..FIRST + COUNT).contains(port)));
    }
}
