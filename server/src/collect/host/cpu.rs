//! Processor usage: seconds per mode since boot, percent since the last measurement, and percent in the last minute.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use watchpost_policies::MetricPattern;

use super::stat::{GUEST_MODES, Stat, Ticks};
use super::{HostOptions, read};
use crate::collect::probe::{Probe, Reading, patterns};

/// The period of `cpu_mean_1m`.
const PERIOD: Duration = Duration::from_secs(60);

/// Readings that follow sooner are no starting points of a mean, so their number is bounded.
const MIN_SPACING: Duration = Duration::from_secs(1);

pub(super) struct Cpu {
    file: PathBuf,
    all: Usage,
    mean: Mean,
    /// An offline processor keeps its entry, because its counters continue when it is online again.
    cores: HashMap<String, Usage>,
}

/// The first measurement covers the time since boot.
#[derive(Default)]
struct Usage {
    /// Of the last round.
    ticks: Ticks,
    percent: Option<f64>,
    /// Of the last round or scrape; they are reported as counters, so none of them decreases.
    counted: Ticks,
}

impl Usage {
    /// A measurement within the same tick keeps the last percentage.
    fn update(&mut self, now: Ticks) {
        self.count(now);
        let now = now.not_before(self.ticks);
        self.percent = now.since(self.ticks).busy_percent().or(self.percent);
        self.ticks = now;
    }

    /// Updates the counters, and not the percentage.
    fn count(&mut self, now: Ticks) {
        self.counted = now.not_before(self.counted);
    }
}

/// The mean usage of the last minute, from the counters at its two ends. Between rounds that are further apart than a
/// minute, it is the mean since the last round.
#[derive(Default)]
struct Mean {
    /// The possible starting points, the oldest first. All but the first are younger than the period.
    readings: VecDeque<(Instant, Ticks)>,
    percent: Option<f64>,
}

impl Mean {
    /// Adds a reading. There is no mean in the first minute: one busy round would be the whole of a shorter one.
    fn update(&mut self, at: Instant, ticks: Ticks) {
        let age = |reading: &(Instant, Ticks)| at.saturating_duration_since(reading.0);
        while self.readings.get(1).is_some_and(|second| age(second) >= PERIOD) {
            self.readings.pop_front();
        }
        let (front, back) = (self.readings.front(), self.readings.back());
        if let Some((_, start)) = front.filter(|front| age(front) >= PERIOD) {
            self.percent = ticks.since(*start).busy_percent().or(self.percent);
        }
        if back.is_none_or(|last| age(last) >= MIN_SPACING) {
            self.readings.push_back((at, ticks));
        }
    }
}

impl Cpu {
    pub(super) fn new(options: &HostOptions) -> Self {
        Self {
            file: options.procfs.join("stat"),
            all: Usage::default(),
            mean: Mean::default(),
            cores: HashMap::new(),
        }
    }

    /// The file, and the total of all processors.
    fn read(&self) -> Result<(Stat, Ticks), String> {
        let stat = Stat::parse(&read::text(&self.file)?);
        let total = stat
            .total()
            .ok_or_else(|| format!("{} has no processor times", self.file.display()))?;
        Ok((stat, total))
    }
}

fn add_counters(reading: &mut Reading, core: &str, counted: Ticks, now_ms: u64) {
    for (mode, seconds) in counted.seconds() {
        let labels = [("cpu", core), ("mode", mode)];
        reading.add("node_cpu_seconds_total", &labels, seconds, "seconds", now_ms);
    }
}

fn add_guests(reading: &mut Reading, stat: &Stat, now_ms: u64) {
    for (core, guest) in &stat.guests {
        for (mode, seconds) in GUEST_MODES.into_iter().zip(*guest) {
            let labels = [("cpu", core.as_str()), ("mode", mode)];
            reading.add("node_cpu_guest_seconds_total", &labels, seconds, "seconds", now_ms);
        }
    }
}

impl Probe for Cpu {
    fn name(&self) -> &'static str {
        "host.cpu"
    }

    fn metrics(&self) -> Vec<MetricPattern> {
        patterns(&[
            "cpu",
            "cpu_core",
            "cpu_mean_1m",
            "node_cpu_guest_seconds_total",
            "node_cpu_seconds_total",
        ])
    }

    fn measure(&mut self, now_ms: u64) -> Result<Reading, String> {
        self.measure_at(now_ms, Instant::now())
    }

    fn refresh(&mut self, now_ms: u64) -> Result<Reading, String> {
        let (stat, _) = self.read()?;
        let mut reading = Reading::default();
        add_guests(&mut reading, &stat, now_ms);
        for (core, ticks) in stat.cores {
            let usage = self.cores.entry(core.clone()).or_default();
            usage.count(ticks);
            add_counters(&mut reading, &core, usage.counted, now_ms);
        }
        Ok(reading)
    }
}

impl Cpu {
    /// The mean needs a clock that no correction of the time of day moves.
    fn measure_at(&mut self, now_ms: u64, at: Instant) -> Result<Reading, String> {
        let (stat, total) = self.read()?;
        let mut reading = Reading::default();
        self.all.update(total);
        if let Some(percent) = self.all.percent {
            reading.add("cpu", &[], percent, "percent", now_ms);
        }
        add_guests(&mut reading, &stat, now_ms);
        self.mean.update(at, self.all.ticks);
        if let Some(percent) = self.mean.percent {
            reading.add("cpu_mean_1m", &[], percent, "percent", now_ms);
        }
        for (core, ticks) in stat.cores {
            let usage = self.cores.entry(core.clone()).or_default();
            usage.update(ticks);
            if let Some(percent) = usage.percent {
                reading.add("cpu_core", &[("core", &core)], percent, "percent", now_ms);
            }
            add_counters(&mut reading, &core, usage.counted, now_ms);
        }
        Ok(reading)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Machine, count, value};
    use super::*;

    #[test]
    fn the_first_percentage_is_since_boot_and_the_next_since_the_last_measurement() {
        let machine = Machine::new().with("proc/stat", "cpu 25 0 0 75\ncpu0 25 0 0 75\n");
        let mut cpu = Cpu::new(&machine.options());
        let first = cpu.measure(1).expect("measured");
        assert_eq!(value(&first, "cpu", &[]), Some(25.0));
        machine.write("proc/stat", "cpu 115 0 0 85\ncpu0 115 0 0 85\n");
        let second = cpu.measure(2).expect("measured");
        assert_eq!(value(&second, "cpu", &[]), Some(90.0));
        assert_eq!(value(&second, "cpu_core", &["0"]), Some(90.0));
        assert_eq!(value(&second, "node_cpu_seconds_total", &["0", "user"]), Some(1.15));
        let same = cpu.measure(3).expect("measured");
        assert_eq!(value(&same, "cpu", &[]), Some(90.0), "no time has passed");
    }

    /// The machine was busy for `busy` and idle for `idle` ticks since boot.
    fn write(machine: &Machine, busy: u64, idle: u64) {
        machine.write("proc/stat", format!("cpu {busy} 0 0 {idle}\n"));
    }

    #[test]
    fn the_mean_covers_the_last_minute_and_one_busy_interval_is_no_busy_minute() {
        let machine = Machine::new();
        let (mut cpu, start) = (Cpu::new(&machine.options()), Instant::now());
        let mut mean_after = |seconds: u64, busy: u64, idle: u64| {
            write(&machine, busy, idle);
            let reading = cpu.measure_at(1, start + Duration::from_secs(seconds));
            value(&reading.expect("measured"), "cpu_mean_1m", &[]).map(f64::round)
        };
        // Before the first measurement the machine was busy; that is not the last minute.
        assert_eq!(mean_after(0, 100_000, 0), None);
        assert_eq!(mean_after(10, 100_000, 1000), None);
        assert_eq!(
            mean_after(20, 101_000, 1000),
            None,
            "one busy interval is no busy minute"
        );
        for seconds in [30, 40, 50] {
            assert_eq!(
                mean_after(seconds, 101_000, 1000 + (seconds - 20) * 100),
                None,
                "{seconds}"
            );
        }
        assert_eq!(
            mean_after(60, 101_000, 5000),
            Some(17.0),
            "one interval of six was busy"
        );
        assert_eq!(mean_after(70, 101_000, 6000), Some(17.0));
        assert_eq!(
            mean_after(80, 101_000, 7000),
            Some(0.0),
            "the busy one is over a minute ago"
        );
    }

    #[test]
    fn a_mean_over_longer_intervals_covers_the_last_interval_and_many_readings_are_not_all_kept() {
        let (mut mean, start) = (Mean::default(), Instant::now());
        let ticks = |busy: u64, idle: u64| {
            let stat = Stat::parse(&format!("cpu {busy} 0 0 {idle}\n"));
            stat.total().expect("it has processor times")
        };
        mean.update(start, ticks(0, 0));
        mean.update(start + Duration::from_secs(600), ticks(30_000, 30_000));
        assert_eq!(mean.percent, Some(50.0));
        mean.update(start + Duration::from_secs(1200), ticks(90_000, 30_000));
        assert_eq!(mean.percent, Some(100.0));
        let later = start + Duration::from_secs(1200);
        for step in 1..=100_000 {
            mean.update(later + Duration::from_millis(10 * step), ticks(90_000, 30_000 + step));
        }
        assert_eq!(mean.percent, Some(0.0));
        assert!(mean.readings.len() <= 62, "{}", mean.readings.len());
    }

    #[test]
    fn the_time_of_virtual_machines_is_reported_by_mode() {
        let machine = Machine::new().with("proc/stat", "cpu0 1 1 1 1 0 0 0 0 250 50\n");
        let reading = Cpu::new(&machine.options()).measure(1).expect("measured");
        let seconds = |mode| value(&reading, "node_cpu_guest_seconds_total", &["0", mode]);
        assert_eq!((seconds("user"), seconds("nice")), (Some(2.5), Some(0.5)));
        let scraped = Cpu::new(&machine.options()).refresh(1).expect("measured");
        assert_eq!(count(&scraped, "node_cpu_guest_seconds_total"), 2);
    }

    #[test]
    fn a_scrape_reads_the_counters_and_does_not_change_the_percentage() {
        let machine = Machine::new().with("proc/stat", "cpu0 0 0 0 100\n");
        let mut cpu = Cpu::new(&machine.options());
        cpu.measure(1).expect("measured");
        machine.write("proc/stat", "cpu0 100 0 0 100 9\n");
        let scraped = cpu.refresh(2).expect("measured");
        assert_eq!(value(&scraped, "node_cpu_seconds_total", &["0", "user"]), Some(1.0));
        assert_eq!((count(&scraped, "cpu"), count(&scraped, "cpu_core")), (0, 0));
        machine.write("proc/stat", "cpu0 100 0 0 200 0\n");
        let round = cpu.measure(3).expect("measured");
        assert_eq!(value(&round, "cpu", &[]), Some(50.0), "since the last round");
        assert_eq!(
            value(&round, "node_cpu_seconds_total", &["0", "iowait"]),
            Some(0.09),
            "a counter does not decrease after a scrape"
        );
    }

    #[test]
    fn cores_may_go_offline_and_online() {
        let machine = Machine::new().with("proc/stat", "cpu0 0 0 0 100\ncpu1 0 0 0 100\n");
        let mut cpu = Cpu::new(&machine.options());
        cpu.measure(1).expect("measured");
        machine.write("proc/stat", "cpu0 100 0 0 100\n");
        let offline = cpu.measure(2).expect("measured");
        assert_eq!(count(&offline, "cpu_core"), 1);
        machine.write("proc/stat", "cpu0 100 0 0 200\ncpu1 300 0 0 200\n");
        let online = cpu.measure(3).expect("measured");
        assert_eq!(value(&online, "cpu_core", &["0"]), Some(0.0));
        assert_eq!(value(&online, "cpu_core", &["1"]), Some(75.0));
    }

    #[test]
    fn a_file_without_processors_is_an_error() {
        let machine = Machine::new().with("proc/stat", "btime 1\n");
        let error = Cpu::new(&machine.options()).measure(1).expect_err("refused");
        assert!(error.contains("proc/stat"), "{error}");
    }
}
