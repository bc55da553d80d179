//! Ports for programs that cannot leave the choice to the system. They lie below those from which the system chooses, so
//! nobody is given one while the program that has it is stopped. Whether a port is free, only the program that binds it
//! finds out: where it is not, the program ends and is started on the next.

use std::process::Child;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::server::eventually;

/// Nobody listens there: it is too low for anyone but a service of the machine's own.
pub const CLOSED: u16 = 1;

/// Above the ports of well-known services, and below the least that Linux chooses by itself.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// More than other programs have of them in a row.
const ATTEMPTS: usize = 50;

/// Starts a program on one port after another until it has one; `is_ready` tells that from what the program itself says
/// or writes.
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

/// The program, when it is ready, or none when it has ended.
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

/// No two of a process are the same, and those of two processes seldom are.
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
