//! Parses `/proc/stat`: processor times since boot, and a few counters.

use std::collections::HashMap;

/// The unit of `/proc/stat` is a hundredth of a second on all supported platforms, regardless of the kernel's
/// own tick.
pub(super) const TICKS_PER_SECOND: f64 = 100.0;

/// The processor modes, in the order of the file.
pub(super) const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];

/// The modes in which a processor runs virtual machines. Their times are also part of `user` and `nice`.
pub(super) const GUEST_MODES: [&str; 2] = ["user", "nice"];

const IDLE: usize = 3;
const IOWAIT: usize = 4;

/// As in `node_exporter`: a decrease of more than three seconds is a reset of the counter.
const RESTART_THRESHOLD_SECONDS: u64 = 300;

/// The ticks spent in each mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ticks([u64; MODES.len()]);

impl Ticks {
    /// The seconds per mode.
    pub(super) fn seconds(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let seconds = self.0.map(|ticks| ticks as f64 / TICKS_PER_SECOND);
        MODES.into_iter().zip(seconds)
    }

    /// The ticks, with each mode at least as high as before, because a kernel may correct `iowait` and `idle`
    /// downwards. A processor that was offline starts from zero.
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

    /// The difference; all ticks if the counters were reset.
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

    /// The percentage of time in which the processor was busy; `None` if no time has passed.
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

/// The parsed file.
#[derive(Debug, Default)]
pub(super) struct Stat {
    total: Option<Ticks>,
    /// The number and the ticks of each processor, in the order of the file.
    pub(super) cores: Vec<(String, Ticks)>,
    /// The number of each processor and the seconds in which it ran virtual machines, by guest mode.
    pub(super) guests: Vec<(String, [f64; GUEST_MODES.len()])>,
    counters: HashMap<String, u64>,
}

impl Stat {
    /// Lines in another format are skipped.
    pub(super) fn parse(text: &str) -> Self {
        let mut stat = Self::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let Some(name) = words.next() else { continue };
            match name.strip_prefix("cpu") {
                Some("") => stat.total = ticks(words),
                Some(core) if core.bytes().all(|byte| byte.is_ascii_digit()) => {
                    stat.guests
                        .extend(guest(words.clone()).map(|guest| (core.to_owned(), guest)));
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

    /// The total of all processors.
    pub(super) fn total(&self) -> Option<Ticks> {
        let sum = || self.cores.iter().map(|(_, ticks)| *ticks).reduce(Ticks::plus);
        self.total.or_else(sum)
    }

    /// The first number of a line: `ctxt`, `btime`.
    pub(super) fn counter(&self, name: &str) -> Option<u64> {
        self.counters.get(name).copied()
    }
}

/// The seconds of the guest modes, which follow the others; `None` on kernels without them.
fn guest<'w>(words: impl Iterator<Item = &'w str>) -> Option<[f64; GUEST_MODES.len()]> {
    let mut words = words.skip(MODES.len());
    let mut seconds = || Some(words.next()?.parse::<u64>().ok()? as f64 / TICKS_PER_SECOND);
    Some([seconds()?, seconds()?])
}

/// Old kernels have fewer modes; `None` if `idle` is missing.
fn ticks<'w>(words: impl Iterator<Item = &'w str>) -> Option<Ticks> {
    let mut ticks = Ticks::default();
    let mut seen = 0;
    for (slot, word) in ticks.0.iter_mut().zip(words) {
        *slot = word.parse().ok()?;
        seen += 1;
    }
    // Without its idle time, a processor would seem busy all the time.
    (seen > IDLE).then_some(ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_file_is_parsed() {
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
    fn guest_times_follow_the_modes() {
        let stat = Stat::parse(
            "cpu  1 1 1 1 1 1 1 1 9 9\ncpu0 1 1 1 1 1 1 1 1 250 50\ncpu1 1 1 1 1 1 1 1 1\ncpu2 1 1 1 1 1 1 1 1 5 x\n",
        );
        assert_eq!(stat.guests, [("0".to_owned(), [2.5, 0.5])]);
        assert_eq!(stat.cores.len(), 3);
    }

    #[test]
    fn invalid_lines_are_skipped() {
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
    fn counters_do_not_decrease_but_may_be_reset() {
        let before = Ticks([100, 0, 0, 1000, 50, 0, 0, 0]);
        let slipped = Ticks([110, 0, 0, 1010, 40, 0, 0, 0]).not_before(before);
        assert_eq!(slipped, Ticks([110, 0, 0, 1010, 50, 0, 0, 0]));
        assert_eq!(slipped.since(before).busy_percent(), Some(50.0));
        let reset = Ticks([3, 0, 0, 1, 0, 0, 0, 0]).not_before(before);
        assert_eq!(reset.since(before).busy_percent(), Some(75.0));
        assert_eq!(before.since(before).busy_percent(), None, "no time has passed");
    }
}
