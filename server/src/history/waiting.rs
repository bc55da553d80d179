//! Rounds that are judged and not written yet, in their order and by their times. It writes nothing, and outlives the
//! task that does.

use std::collections::VecDeque;

/// Rounds that wait while the database does not answer: half an hour of one every ten seconds, in some ten MB. Then the
/// oldest are lost, and counted.
pub(super) const MOST: usize = 180;

/// Rounds in one transaction.
const AT_ONCE: usize = 60;

/// All that wait. What a round is does not matter here.
pub(super) struct Waiting<R> {
    rounds: VecDeque<(u64, R)>,
    under_way: Vec<u64>,
}

impl<R: Clone> Waiting<R> {
    /// None yet.
    pub(super) fn new() -> Self {
        Self {
            rounds: VecDeque::new(),
            under_way: Vec::new(),
        }
    }

    /// One more waits. How many are lost for it.
    pub(super) fn take_in(&mut self, time_ms: u64, round: R) -> usize {
        self.rounds.push_back((time_ms, round));
        let mut lost = 0;
        while self.rounds.len() > MOST {
            // Those that are being written are not lost, perhaps.
            let under_way = &self.under_way;
            let spare = |(time_ms, _): &(u64, R)| !under_way.contains(time_ms);
            let Some(oldest) = self.rounds.iter().position(spare) else {
                break;
            };
            self.rounds.remove(oldest);
            lost += 1;
        }
        lost
    }

    /// Those that are to be written next, and their times; they wait until they are.
    pub(super) fn next(&mut self) -> (Vec<u64>, Vec<R>) {
        let next: (Vec<u64>, Vec<R>) = self.rounds.iter().take(AT_ONCE).cloned().unzip();
        self.under_way.clone_from(&next.0);
        next
    }

    /// Those of these times are written. How many of them still waited: two may have written the same.
    pub(super) fn written(&mut self, times: &[u64]) -> usize {
        let before = self.rounds.len();
        self.under_way.clear();
        self.rounds.retain(|(time_ms, _)| !times.contains(time_ms));
        before - self.rounds.len()
    }

    /// Those that were under way are not written, or nobody knows whether they are.
    pub(super) fn failed(&mut self) {
        self.under_way.clear();
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.rounds.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Waiting<()> {
        let mut waiting = Waiting::new();
        assert_eq!(
            (1..=MOST as u64)
                .map(|time_ms| waiting.take_in(time_ms, ()))
                .sum::<usize>(),
            0
        );
        waiting
    }

    #[test]
    fn when_too_many_wait_the_oldest_is_lost() {
        let mut waiting = full();
        assert_eq!(waiting.take_in(1000, ()), 1);
        assert_eq!(waiting.next().0[..2], [2, 3]);
    }

    #[test]
    fn what_is_being_written_is_not_lost_meanwhile() {
        let mut waiting = full();
        let (times, _) = waiting.next();
        assert_eq!(times.len(), AT_ONCE);
        assert_eq!(waiting.take_in(1000, ()), 1);
        assert_eq!(waiting.written(&times), AT_ONCE);
        assert_eq!(waiting.len(), MOST - AT_ONCE);
        let after = AT_ONCE as u64 + 2;
        assert_eq!(
            waiting.next().0[0],
            after,
            "the first that was not being written was lost"
        );
    }

    #[test]
    fn what_two_have_written_leaves_the_rest_waiting() {
        let mut waiting = full();
        let (times, _) = waiting.next();
        assert_eq!(waiting.written(&times), AT_ONCE);
        assert_eq!(waiting.written(&times), 0);
        assert_eq!(waiting.len(), MOST - AT_ONCE);
    }
}
