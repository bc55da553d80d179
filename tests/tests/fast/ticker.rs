//! The ticker thread, which interrupts rules at their time limit. The test observes it by its name in /proc, so it runs
//! in a separate process.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use watchpost_policies::Misbehaviour;
use watchpost_tests::guests::{HOSTILE, engine_with, rule, rules};
use watchpost_tests::isolated::isolated;
use watchpost_tests::sample::machine;

#[test]
fn the_ticker_of_an_idle_engine_sleeps_wakes_in_time_and_ends_with_it() {
    isolated(
        "ticker::the_ticker_of_an_idle_engine_sleeps_wakes_in_time_and_ends_with_it",
        look_at_an_idle_engine,
    );
}

fn look_at_an_idle_engine() {
    let engine = engine_with(|limits| limits.judge_ms = 50);
    let endless = rules(&engine, Some(rule(&engine, HOSTILE, r#"{"do": "loop"}"#)), None);
    let stopped = || {
        let report = endless.judge(&machine(1.0, 1.0, 1.0), None);
        assert_eq!(report.faults()[0].misbehaviour, Misbehaviour::Timeout { limit_ms: 50 });
    };
    stopped();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !sleeps() {
        assert!(Instant::now() < deadline, "an idle engine is woken again and again");
    }
    stopped();

    drop((engine, endless));
    assert_eq!(ticker(), None);
}

/// Whether the thread does not wake up during many ticks.
fn sleeps() -> bool {
    let before = wake_ups();
    let until = Instant::now() + Duration::from_millis(50);
    while Instant::now() < until {
        thread::yield_now();
    }
    wake_ups() == before
}

fn wake_ups() -> u64 {
    let status = std::fs::read_to_string(ticker().expect("it ticks").join("status")).expect("Linux has it");
    let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches"));
    let count = line.and_then(|line| line.split_whitespace().last()?.parse().ok());
    count.expect("Linux counts them")
}

fn ticker() -> Option<PathBuf> {
    let threads = std::fs::read_dir("/proc/self/task").expect("Linux has it");
    let is_ticker = |path: &PathBuf| {
        let name = std::fs::read_to_string(path.join("comm"));
        name.is_ok_and(|name| name.trim() == "rules-ticker")
    };
    threads
        .filter_map(Result::ok)
        .map(|thread| thread.path())
        .find(is_ticker)
}
