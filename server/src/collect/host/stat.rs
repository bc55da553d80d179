//! Understands `/proc/stat`: what the processors did since the machine began, and a few counters beside it.

use std::collections::HashMap;

/// Every Linux that we run on counts in hundredths of a second, whatever its own tick is.
pub(super) const TICKS_PER_SECOND: f64 = 100.0;

/// The ways in which a processor spends its time, in the order of the file.
pub(super) const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];

const IDLE: usize = 3;
const IOWAIT: usize = 4;

/// `node_exporter`'s measure: what goes back further than three seconds has begun anew, and is no slip.
const RESTART_THRESHOLD_SECONDS: u64 = 300;

/// Ticks spent in each mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ticks([u64; MODES.len()]);

impl Ticks {
    /// Each mode and its seconds.
    pub(super) fn seconds(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let seconds = self.0.map(|ticks| ticks as f64 / TICKS_PER_SECOND);
        MODES.into_iter().zip(seconds)
    }

    /// The same ticks, but none fewer than before: a kernel may take back some of `iowait` and `idle`. A
    /// processor that was switched off and on begins anew.
    pub(super) fn not_before(self, before: Self) -> Self {
        if self.0[IDLE].saturating_add(RESTART_THRESHOLD_SECONDS) < before.0[IDLE] {
            return self;
        }
        let mut ticks = self;
        for (now, before) in ticks.0.iter_mut().zip(before.0) {
            *now = before.max(*now);
        }
        ticks
    }

    /// What was added since then; all of it, if it began anew.
    pub(super) fn since(self, before: Self) -> Self {
        let mut added = self;
        if self.0.iter().zip(before.0).any(|(now, before)| *now < before) {
            return added;
        }
        for (now, before) in added.0.iter_mut().zip(before.0) {
            *now -= before;
        }
        added
    }

    /// Percent of the time in which something was done; `None` where no time has passed.
    pub(super) fn busy_percent(&self) -> Option<f64> {
        let all = self.0.iter().fold(0.0, |sum, ticks| sum + *ticks as f64);
        let idle = self.0[IDLE] as f64 + self.0[IOWAIT] as f64;
        super::read::percent(all - idle, all)
    }

    fn plus(self, other: Self) -> Self {
        let mut sum = self;
        for (ticks, more) in sum.0.iter_mut().zip(other.0) {
            *ticks = ticks.saturating_add(more);
        }
        sum
    }
}

/// The file, as far as it could be understood.
#[derive(Debug, Default)]
pub(super) struct Stat {
    total: Option<Ticks>,
    /// Each processor's number and what it did, in the order of the file.
    pub(super) cores: Vec<(String, Ticks)>,
    counters: HashMap<String, u64>,
}

impl Stat {
    /// Leaves out what it does not understand.
    pub(super) fn parse(text: &str) -> Self {
        let mut stat = Self::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let Some(name) = words.next() else { continue };
            match name.strip_prefix("cpu") {
                Some("") => stat.total = ticks(words),
                Some(core) if core.bytes().all(|byte| byte.is_ascii_digit()) => {
                    stat.cores.extend(ticks(words).map(|ticks| (core.to_owned(), ticks)));
                }
                _ => {
                    if let Some(count) = words.next().and_then(|word| word.parse().ok()) {
                        stat.counters.insert(name.to_owned(), count);
                    }
                }
            }
        }
        stat
    }

    /// What all processors did together.
    pub(super) fn total(&self) -> Option<Ticks> {
        let sum = || self.cores.iter().map(|(_, ticks)| *ticks).reduce(Ticks::plus);
        self.total.or_else(sum)
    }

    /// The first number of a line: `ctxt`, `btime`.
    pub(super) fn counter(&self, name: &str) -> Option<u64> {
        self.counters.get(name).copied()
    }
}

/// An old kernel has fewer modes; one without any number has none.
fn ticks<'w>(words: impl Iterator<Item = &'w str>) -> Option<Ticks> {
    let mut ticks = Ticks::default();
    let mut seen = 0;
    for (slot, word) in ticks.0.iter_mut().zip(words) {
        *slot = word.parse().ok()?;
        seen += 1;
    }
    // Without the time that it was idle, a processor would seem busy all the time.
    (seen > IDLE).then_some(ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_is_understood() {
        let stat = Stat::parse(
            "cpu  30 0 10 60 0 0 0 0 0 0\ncpu0 10 0 10 30 0 0 0 0\ncpu7 20 0 0 30\nintr 99 1 2\nctxt 5\nbtime 7\n",
        );
        assert_eq!(stat.total().and_then(|total| total.busy_percent()), Some(40.0));
        assert_eq!(stat.cores.len(), 2);
        assert_eq!(stat.cores[1].0, "7");
        assert_eq!((stat.counter("intr"), stat.counter("ctxt")), (Some(99), Some(5)));
        assert_eq!(stat.counter("processes"), None);
        let seconds: Vec<_> = stat.cores[0].1.seconds().take(4).collect();
        assert_eq!(seconds, [("user", 0.1), ("nice", 0.0), ("system", 0.1), ("idle", 0.3)]);
    }

    #[test]
    fn odd_lines_are_left_out() {
        let stat = Stat::parse("cpu 1 2\ncpu0 1 2 3 x\ncpux 1 2 3 4\ncpu1 1 0 0 1\nctxt\nbtime -1\n\n");
        assert_eq!(stat.cores.len(), 1);
        assert_eq!(
            stat.total().and_then(|total| total.busy_percent()),
            Some(50.0),
            "the sum of the cores"
        );
        assert_eq!((stat.counter("ctxt"), stat.counter("btime")), (None, None));
        assert!(Stat::parse("").total().is_none());
        let huge = format!("cpu0 {0} 0 0 {0}\ncpu1 {0} 0 0 {0}\n", u64::MAX);
        assert_eq!(
            Stat::parse(&huge).total().and_then(|total| total.busy_percent()),
            Some(50.0)
        );
    }

    #[test]
    fn counters_do_not_go_back_but_may_begin_anew() {
        let before = Ticks([100, 0, 0, 1000, 50, 0, 0, 0]);
        let slipped = Ticks([110, 0, 0, 1010, 40, 0, 0, 0]).not_before(before);
        assert_eq!(slipped, Ticks([110, 0, 0, 1010, 50, 0, 0, 0]));
        assert_eq!(slipped.since(before).busy_percent(), Some(50.0));
        let anew = Ticks([3, 0, 0, 1, 0, 0, 0, 0]).not_before(before);
        assert_eq!(anew.since(before).busy_percent(), Some(75.0));
        assert_eq!(before.since(before).busy_percent(), None, "no time has passed");
    }
}
