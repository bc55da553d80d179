//! Disk counters since boot, and how busy each disk was since the last measurement.

use std::collections::HashMap;
use std::path::PathBuf;

use watchpost_policies::MetricPattern;

use super::pattern::Patterns;
use super::udev::Udev;
use super::{HostOptions, read};
use crate::collect::probe::{Probe, Reading, patterns};

/// The unit of `/proc/diskstats`, regardless of a disk's own sector size.
const SECTOR_BYTES: f64 = 512.0;

/// A metric, its column of `/proc/diskstats` after the name, the factor to its unit, and the unit. Kernels before 4.18
/// lack discards, and those before 5.5 flushes.
const COUNTERS: [(&str, usize, f64, &str); 17] = [
    ("node_disk_reads_completed_total", 0, 1.0, ""),
    ("node_disk_reads_merged_total", 1, 1.0, ""),
    ("node_disk_read_bytes_total", 2, SECTOR_BYTES, "bytes"),
    ("node_disk_read_time_seconds_total", 3, 0.001, "seconds"),
    ("node_disk_writes_completed_total", 4, 1.0, ""),
    ("node_disk_writes_merged_total", 5, 1.0, ""),
    ("node_disk_written_bytes_total", 6, SECTOR_BYTES, "bytes"),
    ("node_disk_write_time_seconds_total", 7, 0.001, "seconds"),
    ("node_disk_io_now", 8, 1.0, ""),
    ("node_disk_io_time_seconds_total", BUSY_TIME_COLUMN, 0.001, "seconds"),
    ("node_disk_io_time_weighted_seconds_total", 10, 0.001, "seconds"),
    ("node_disk_discards_completed_total", 11, 1.0, ""),
    ("node_disk_discards_merged_total", 12, 1.0, ""),
    ("node_disk_discarded_sectors_total", 13, 1.0, ""),
    ("node_disk_discard_time_seconds_total", 14, 0.001, "seconds"),
    ("node_disk_flush_requests_total", 15, 1.0, ""),
    ("node_disk_flush_requests_time_seconds_total", 16, 0.001, "seconds"),
];

/// The columns that all kernels have.
const MIN_COLUMNS: usize = 11;
const BUSY_TIME_COLUMN: usize = 9;

pub(super) struct Disks {
    diskstats: PathBuf,
    uptime: PathBuf,
    excluded: Patterns,
    udev: Udev,
    /// The time of the last measurement, in seconds since boot, and the usage of each disk then.
    before_seconds: f64,
    before: HashMap<String, Usage>,
}

#[derive(Clone, Copy, Default)]
struct Usage {
    busy_ms: u64,
    percent: Option<f64>,
}

impl Disks {
    pub(super) fn new(options: &HostOptions) -> Self {
        Self {
            diskstats: options.procfs.join("diskstats"),
            uptime: options.procfs.join("uptime"),
            excluded: Patterns::new(&options.exclude_disks),
            udev: Udev::new(options),
            before_seconds: 0.0,
            before: HashMap::new(),
        }
    }

    fn add_info(&self, disk: &Disk<'_>, now_ms: u64, reading: &mut Reading) {
        let (major, minor) = (disk.major.to_string(), disk.minor.to_string());
        let properties = self.udev.disk(disk.major, disk.minor);
        let labels = [
            ("device", disk.name),
            ("major", &major),
            ("minor", &minor),
            ("model", &properties.model),
            ("path", &properties.path),
            ("revision", &properties.revision),
            ("serial", &properties.serial),
            ("wwn", &properties.wwn),
        ];
        reading.add("node_disk_info", &labels, 1.0, "", now_ms);
    }

    /// The first measurement covers the time since boot. If a counter was reset, the last percentage is
    /// repeated.
    fn usage(&self, disk: &Disk<'_>, now_seconds: Option<f64>) -> Usage {
        let busy_ms = disk.columns[BUSY_TIME_COLUMN];
        let before = self.before.get(disk.name).copied().unwrap_or_default();
        let elapsed = now_seconds.map(|now| now - self.before_seconds);
        let added = busy_ms.checked_sub(before.busy_ms);
        let percent = elapsed
            .zip(added)
            .and_then(|(seconds, busy)| read::percent(busy as f64 / 1000.0, seconds));
        Usage {
            busy_ms,
            percent: percent.or(before.percent),
        }
    }

    /// The counters of each disk that is not excluded.
    fn counters<'t>(&self, text: &'t str, now_ms: u64, reading: &mut Reading) -> Vec<Disk<'t>> {
        let disks: Vec<_> = parse(text).filter(|disk| !self.excluded.cover(disk.name)).collect();
        for disk in &disks {
            let labels = [("device", disk.name)];
            for (metric, column, factor, unit) in COUNTERS {
                if let Some(count) = disk.columns.get(column) {
                    reading.add(metric, &labels, *count as f64 * factor, unit, now_ms);
                }
            }
        }
        disks
    }
}

impl Probe for Disks {
    fn name(&self) -> &'static str {
        "host.disks"
    }

    fn metrics(&self) -> Vec<MetricPattern> {
        patterns(&["disk_busy", "node_disk_*"])
    }

    fn measure(&mut self, now_ms: u64) -> Result<Reading, String> {
        let text = read::text(&self.diskstats)?;
        let mut reading = Reading::default();
        let now_seconds = match read::text(&self.uptime) {
            Ok(text) => uptime(&text),
            Err(reason) => {
                reading.miss(self.name(), &["disk_busy"], reason);
                None
            }
        };
        let mut usages = HashMap::new();
        for disk in self.counters(&text, now_ms, &mut reading) {
            self.add_info(&disk, now_ms, &mut reading);
            let usage = self.usage(&disk, now_seconds);
            if let Some(percent) = usage.percent {
                reading.add("disk_busy", &[("device", disk.name)], percent, "percent", now_ms);
            }
            usages.insert(disk.name.to_owned(), usage);
        }
        self.before = usages;
        self.before_seconds = now_seconds.unwrap_or(self.before_seconds);
        Ok(reading)
    }

    fn refresh(&mut self, now_ms: u64) -> Result<Reading, String> {
        let mut reading = Reading::default();
        self.counters(&read::text(&self.diskstats)?, now_ms, &mut reading);
        Ok(reading)
    }
}

struct Disk<'t> {
    name: &'t str,
    major: u32,
    minor: u32,
    /// At least [`MIN_COLUMNS`].
    columns: Vec<u64>,
}

/// Lines in another format are skipped, such as the short partition lines of old kernels.
fn parse(text: &str) -> impl Iterator<Item = Disk<'_>> {
    text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let (major, minor) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let name = words.next()?;
        let columns: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
        let disk = Disk {
            name,
            major,
            minor,
            columns,
        };
        (disk.columns.len() >= MIN_COLUMNS).then_some(disk)
    })
}

fn uptime(text: &str) -> Option<f64> {
    let seconds: f64 = text.split_ascii_whitespace().next()?.parse().ok()?;
    seconds.is_finite().then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Machine, count, value};
    use super::*;

    fn line(name: &str, busy_ms: u64) -> String {
        format!(" 8 0 {name} 10 1 20 3000 30 2 40 5000 1 {busy_ms} 7000 60 61 62 6300 64 6500\n")
    }

    #[test]
    fn disks_are_reported_as_by_node_exporter_without_partitions() {
        let stats = line("sda", 500) + &line("sda1", 500) + &line("loop0", 0) + &line("nvme0n1", 1);
        let machine = Machine::new()
            .with("proc/diskstats", stats)
            .with("proc/uptime", "10.00 9.00\n");
        let reading = Disks::new(&machine.options()).measure(1).expect("measured");
        assert_eq!(count(&reading, "node_disk_io_now"), 2);
        assert_eq!(value(&reading, "node_disk_read_bytes_total", &["sda"]), Some(10_240.0));
        assert_eq!(
            value(&reading, "node_disk_read_time_seconds_total", &["sda"]),
            Some(3.0)
        );
        assert_eq!(
            value(&reading, "node_disk_writes_completed_total", &["sda"]),
            Some(30.0)
        );
        assert_eq!(
            value(&reading, "node_disk_written_bytes_total", &["sda"]),
            Some(20_480.0)
        );
        assert_eq!(value(&reading, "node_disk_io_time_seconds_total", &["sda"]), Some(0.5));
        assert_eq!(
            value(&reading, "node_disk_io_time_weighted_seconds_total", &["sda"]),
            Some(7.0)
        );
        assert_eq!(value(&reading, "disk_busy", &["sda"]), Some(5.0), "since boot");
        assert_eq!(
            value(&reading, "node_disk_discards_completed_total", &["sda"]),
            Some(60.0)
        );
        assert_eq!(
            value(&reading, "node_disk_discarded_sectors_total", &["sda"]),
            Some(62.0)
        );
        assert_eq!(
            value(&reading, "node_disk_discard_time_seconds_total", &["sda"]),
            Some(6.3)
        );
        assert_eq!(value(&reading, "node_disk_flush_requests_total", &["sda"]), Some(64.0));
        assert_eq!(
            value(&reading, "node_disk_flush_requests_time_seconds_total", &["sda"]),
            Some(6.5)
        );
        let labels = ["sda", "8", "0", "", "", "", "", ""];
        assert_eq!(value(&reading, "node_disk_info", &labels), Some(1.0));
    }

    #[test]
    fn a_scrape_reads_the_counters_and_does_not_change_the_percentage() {
        let machine = Machine::new()
            .with("proc/diskstats", line("sda", 500))
            .with("proc/uptime", "10.00 9.00\n");
        let mut disks = Disks::new(&machine.options());
        disks.measure(1).expect("measured");
        machine.write("proc/diskstats", line("sda", 900));
        let scraped = disks.refresh(2).expect("measured");
        assert_eq!(value(&scraped, "node_disk_io_time_seconds_total", &["sda"]), Some(0.9));
        assert_eq!(value(&scraped, "node_disk_flush_requests_total", &["sda"]), Some(64.0));
        assert_eq!(
            (count(&scraped, "disk_busy"), count(&scraped, "node_disk_info")),
            (0, 0)
        );
        machine.write("proc/diskstats", line("sda", 1500));
        machine.write("proc/uptime", "12.00 9.00\n");
        let round = disks.measure(3).expect("measured");
        assert_eq!(value(&round, "disk_busy", &["sda"]), Some(50.0), "since the last round");
    }

    #[test]
    fn old_kernels_count_neither_discards_nor_flushes() {
        let machine = Machine::new().with("proc/diskstats", " 8 0 sda 1 2 3 4 5 6 7 8 9 10 11\n");
        let reading = Disks::new(&machine.options()).measure(1).expect("measured");
        assert_eq!(value(&reading, "node_disk_io_now", &["sda"]), Some(9.0));
        assert_eq!(count(&reading, "node_disk_discards_completed_total"), 0);
        assert_eq!(count(&reading, "node_disk_flush_requests_total"), 0);
    }

    #[test]
    fn disk_busy_covers_the_time_since_the_last_measurement() {
        let machine = Machine::new()
            .with("proc/diskstats", line("sda", 500))
            .with("proc/uptime", "10.00 0\n");
        let mut disks = Disks::new(&machine.options());
        disks.measure(1).expect("measured");
        let mut check = |busy_ms: u64, uptime: &str, expected: f64| {
            machine.write("proc/diskstats", line("sda", busy_ms));
            machine.write("proc/uptime", uptime);
            let reading = disks.measure(1).expect("measured");
            assert_eq!(
                value(&reading, "disk_busy", &["sda"]),
                Some(expected),
                "{busy_ms} {uptime}"
            );
        };
        check(1500, "12.00 0", 50.0);
        check(1500, "12.00 0", 50.0);
        check(9500, "14.00 0", 100.0);
        check(1, "16.00 0", 100.0);
        check(501, "18.00 0", 25.0);
    }

    #[test]
    fn truncated_lines_are_skipped() {
        let machine = Machine::new().with(
            "proc/diskstats",
            "8 0 sdb 1 2 3\n8 0\n\n8 0 sdc a b c d e f g h i j k\n",
        );
        let reading = Disks::new(&machine.options()).measure(1).expect("measured");
        assert_eq!(reading.samples, []);
        assert_eq!(reading.gaps.len(), 1, "no uptime");
        let error = Disks::new(&Machine::new().options()).measure(1).expect_err("refused");
        assert!(error.contains("diskstats"), "{error}");
    }
}
