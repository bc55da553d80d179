//! Slow sources, which no round waits for, and results that arrive after the timeout.

use std::sync::Mutex;

use super::*;

#[test]
fn no_round_waits_for_a_slow_source_and_its_last_result_is_reused() {
    let (release, gate) = std::sync::mpsc::channel::<()>();
    let gate = Arc::new(Mutex::new(gate));
    let make = move || {
        let (gate, mut measured) = (gate.clone(), 0);
        let measure = move || {
            measured += 1;
            if measured > 1 {
                // Blocks until the test has seen enough.
                let _ = gate.lock().expect("no panic").recv();
            }
            Ok(one("slow"))
        };
        Scripted {
            name: "slow",
            measure: Box::new(measure),
        }
    };
    let slow = blocking(TIMEOUT * 100, make);
    let seen = rounds(vec![good("quick"), slow], move |round| {
        if round.number == 6 {
            let _ = release.send(());
        }
        round.number >= 6
    });
    for round in &seen {
        assert!(
            round.duration < TIMEOUT,
            "round {} took {:?}",
            round.number,
            round.duration
        );
        assert_eq!(metrics(round), ["quick", "slow"], "round {}", round.number);
    }
}

/// A slow source. It follows the script, one step per measurement, and then waits for the end of the test.
fn slow(timeout: Duration, script: &'static [Result<(), &'static str>], gate: mpsc::Receiver<()>) -> MakeSource {
    let gate = Arc::new(Mutex::new(gate));
    let make = move || {
        let (gate, mut steps) = (gate.clone(), script.iter());
        let measure = move || match steps.next() {
            Some(step) => step.map(|()| one("slow")).map_err(str::to_owned),
            None => {
                // A failing test may never release the gate.
                let _ = gate.lock().expect("no panic").recv_timeout(TIMEOUT * 60);
                Ok(one("slow"))
            }
        };
        Scripted {
            name: "slow",
            measure: Box::new(measure),
        }
    };
    blocking(timeout, make)
}

#[test]
fn a_failure_of_a_slow_source_counts_once_and_its_last_result_stays_valid() {
    let (release, gate) = mpsc::channel();
    let source = slow(TIMEOUT * 100, &[Ok(()), Err("the wire is cut")], gate);
    let (mut release, mut failing) = (Some(release), 0);
    let seen = rounds(vec![good("quick"), source], move |round| {
        if !round.sources["slow"].success {
            failing += 1;
        }
        if failing == 5 {
            drop(release.take());
        }
        failing >= 5 && round.sources["slow"].success
    });
    let answered = seen[0].sources["slow"].last_success_ms;
    for round in &seen {
        assert_eq!(metrics(round), ["quick", "slow"], "round {}", round.number);
        assert_eq!(round.snapshot.gaps(), []);
        assert_eq!(round.sources["slow"].samples, 1);
        assert!(round.sources["slow"].age_seconds.is_some());
    }
    for round in seen.iter().filter(|round| !round.sources["slow"].success) {
        let state = &round.sources["slow"];
        assert_eq!(
            (state.failures, state.error.as_deref(), state.last_success_ms),
            (1, Some("the wire is cut"), answered)
        );
    }
    let last = &seen.last().expect("it answered again").sources["slow"];
    assert_eq!((last.failures, last.error.as_deref()), (1, None));
}

#[test]
fn an_expired_result_of_a_slow_source_becomes_a_gap() {
    let (release, gate) = mpsc::channel();
    let source = slow(TIMEOUT + TIMEOUT / 10, &[Ok(())], gate);
    let (mut release, mut gaps) = (Some(release), 0);
    let seen = rounds(vec![good("quick"), source], |round| {
        gaps += round.snapshot.gaps().len();
        if gaps >= 5 {
            drop(release.take());
        }
        gaps >= 5
    });
    assert_eq!(metrics(&seen[0]), ["quick", "slow"]);
    for round in &seen {
        let state = &round.sources["slow"];
        assert_eq!(
            metrics(round).contains(&"slow"),
            round.snapshot.gaps().is_empty(),
            "it is measured or missing"
        );
        assert_eq!(state.samples, metrics(round).len() - 1);
        assert!(state.failures <= 1, "the one failure is counted once: {state:?}");
    }
    let last = seen.last().expect("five gaps");
    assert!(
        last.snapshot.gaps()[0].reason.contains("no result within"),
        "{:?}",
        last.snapshot.gaps()
    );
    let state = &last.sources["slow"];
    assert_eq!((state.success, state.failures, state.samples), (false, 1, 0));
    assert_eq!(state.error.as_deref(), Some(last.snapshot.gaps()[0].reason.as_str()));
}

/// A probe that hangs in its first measurement and reports all calls.
struct Hanging {
    events: mpsc::Sender<&'static str>,
    gate: mpsc::Receiver<()>,
}

impl Probe for Hanging {
    fn name(&self) -> &'static str {
        "hanging"
    }

    fn metrics(&self) -> Vec<MetricPattern> {
        patterns(&["hanging"])
    }

    fn measure(&mut self, _: u64) -> Result<Reading, String> {
        // The receiver may be dropped.
        let _ = self.events.send("measured");
        let _ = self.gate.recv_timeout(TIMEOUT * 60);
        Ok(one("hanging"))
    }

    fn on_discarded(&mut self) {
        let _ = self.events.send("discarded");
    }
}

#[test]
fn a_probe_is_notified_of_a_discarded_result_before_it_is_measured_again() {
    let (sender, events) = mpsc::channel();
    let gates = Arc::new(Mutex::new(Vec::new()));
    let made = gates.clone();
    let make = move || {
        let (release, gate) = mpsc::channel();
        made.lock().expect("no panic").push(release);
        Hanging {
            events: sender.clone(),
            gate,
        }
    };
    let hanging = blocking(TIMEOUT, make);
    rounds(vec![good("quick"), hanging], move |round| {
        if !round.sources["hanging"].success {
            gates.lock().expect("no panic").clear();
        }
        round.sources["hanging"].success
    });
    let events: Vec<_> = events.try_iter().collect();
    assert_eq!(events[..3], ["measured", "discarded", "measured"]);
    assert!(events[3..].iter().all(|event| *event == "measured"), "{events:?}");
}
