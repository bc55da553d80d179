//! A page that is refreshed in place on a terminal. The terminal's own screen returns when it ends, also after Ctrl-C, and
//! while it is suspended by Ctrl-Z.

use std::future::Future;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use tokio::signal::unix::{self, SignalKind, signal};

use super::{CommandError, SOFTWARE};

/// The alternate screen, without a cursor and without line wrapping.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// The terminal while a page is shown.
struct Screen;

impl Screen {
    fn enter() -> Self {
        write(ENTER);
        Self
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        write(LEAVE);
    }
}

/// Whether a page can be shown.
pub(super) fn is_available() -> bool {
    io::stdout().is_terminal()
}

/// Shows the page that `next` returns, again after each interval, until a signal ends it.
pub(super) async fn show<F: Future<Output = String>>(
    interval: Duration,
    mut next: impl FnMut() -> F,
) -> Result<(), CommandError> {
    let mut ends = Ends::new()?;
    let mut suspend = listen(SignalKind::from_raw(Signal::TSTP.as_raw()))?;
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut screen = Some(Screen::enter());
    let mut page = String::new();
    loop {
        tokio::select! {
            () = ends.recv() => return Ok(()),
            _ = suspend.recv() => {
                screen = None;
                // The shell continues this process later.
                let _ = kill_process(getpid(), Signal::STOP);
            }
            new = async { ticks.tick().await; next().await } => page = new,
        }
        if screen.is_none() {
            screen = Some(Screen::enter());
        }
        write(&drawn(&page));
    }
}

/// The signals that end a command that runs until then.
pub(super) struct Ends([unix::Signal; 3]);

impl Ends {
    pub(super) fn new() -> Result<Self, CommandError> {
        let [interrupt, terminate, hang_up] = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        Ok(Self([listen(interrupt)?, listen(terminate)?, listen(hang_up)?]))
    }

    pub(super) async fn recv(&mut self) {
        let [interrupt, terminate, hang_up] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    }
}

fn listen(kind: SignalKind) -> Result<unix::Signal, CommandError> {
    signal(kind).map_err(|error| CommandError::new(SOFTWARE, format!("cannot listen for signals: {error}")))
}

/// Draws from the bottom to the top: a row below the bottom of the terminal is drawn in its last row, and then replaced
/// by the row that belongs there. So the size of the terminal need not be known.
fn drawn(page: &str) -> String {
    let lines: Vec<_> = page.lines().collect();
    let mut text = format!("\x1b[{};1H\x1b[J", lines.len() + 1);
    for (at, line) in lines.iter().enumerate().rev() {
        text += &format!("\x1b[{};1H\x1b[K{line}", at + 1);
    }
    text
}

/// A terminal that is gone sends a signal, so errors are ignored.
fn write(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_drawn_from_the_bottom_and_clears_what_was_there() {
        assert_eq!(
            drawn("one\ntwo\n"),
            "\x1b[3;1H\x1b[J\x1b[2;1H\x1b[Ktwo\x1b[1;1H\x1b[Kone"
        );
    }
}
