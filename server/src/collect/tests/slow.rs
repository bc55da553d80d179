//! Sources that no round waits for, and answers that come too late to be heard.

use std::sync::Mutex;

use super::*;

#[test]
fn no_round_waits_for_a_source_that_may_take_long_and_its_last_answer_counts() {
    let (release, gate) = std::sync::mpsc::channel::<()>();
    let gate = Arc::new(Mutex::new(gate));
    let make = move || {
        let (gate, mut asked) = (gate.clone(), 0);
        let measure = move || {
            asked += 1;
            if asked > 1 {
                // It takes until the test has seen enough.
                let _ = gate.lock().expect("nobody panicked").recv();
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
        assert!(round.took < TIMEOUT, "round {} took {:?}", round.number, round.took);
        assert_eq!(metrics(round), ["quick", "slow"], "round {}", round.number);
    }
}

/// A source that no round waits for. It does what the script says, a step each time it is asked, and then waits for
/// the test to end.
fn slow(timeout: Duration, script: &'static [Result<(), &'static str>], gate: mpsc::Receiver<()>) -> MakeSource {
    let gate = Arc::new(Mutex::new(gate));
    let make = move || {
        let (gate, mut steps) = (gate.clone(), script.iter());
        let measure = move || match steps.next() {
            Some(step) => step.map(|()| one("slow")).map_err(str::to_owned),
            None => {
                // A test that fails may hold the gate for ever.
                let _ = gate.lock().expect("nobody panicked").recv_timeout(TIMEOUT * 60);
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
fn a_failed_answer_of_a_slow_source_counts_once_and_its_last_good_one_stays_while_it_lasts() {
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
fn what_a_slow_source_said_last_becomes_a_gap_with_the_reason_when_it_no_longer_lasts() {
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
        assert!(state.failures <= 1, "the one question is counted once: {state:?}");
    }
    let last = seen.last().expect("five gaps");
    assert!(
        last.snapshot.gaps()[0].reason.contains("did not answer within"),
        "{:?}",
        last.snapshot.gaps()
    );
    let state = &last.sources["slow"];
    assert_eq!((state.success, state.failures, state.samples), (false, 1, 0));
    assert_eq!(state.error.as_deref(), Some(last.snapshot.gaps()[0].reason.as_str()));
}

/// A part that hangs when it is asked first, and tells all that happens to it.
struct Hanging {
    told: mpsc::Sender<&'static str>,
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
        // Who listens may have heard enough.
        let _ = self.told.send("asked");
        let _ = self.gate.recv_timeout(TIMEOUT * 60);
        Ok(one("hanging"))
    }

    fn on_discarded(&mut self) {
        let _ = self.told.send("was not heard");
    }
}

#[test]
fn a_part_whose_answer_came_too_late_hears_so_before_it_is_asked_again() {
    let (told, events) = mpsc::channel();
    let gates = Arc::new(Mutex::new(Vec::new()));
    let made = gates.clone();
    let make = move || {
        let (release, gate) = mpsc::channel();
        made.lock().expect("nobody panicked").push(release);
        Hanging {
            told: told.clone(),
            gate,
        }
    };
    let hanging = blocking(TIMEOUT, make);
    rounds(vec![good("quick"), hanging], move |round| {
        if !round.sources["hanging"].success {
            gates.lock().expect("nobody panicked").clear();
        }
        round.sources["hanging"].success
    });
    let events: Vec<_> = events.try_iter().collect();
    assert_eq!(events[..3], ["asked", "was not heard", "asked"]);
    assert!(events[3..].iter().all(|event| *event == "asked"), "{events:?}");
}
