//! The time that tasks ran on each CPU and waited for it, on kernels that count it.

use crate::collect::probe::Reading;

/// A metric, its column of a CPU's line after the name, the factor to its unit, and the unit.
const COUNTERS: [(&str, usize, f64, &str); 3] = [
    ("node_schedstat_running_seconds_total", 6, 1e-9, "seconds"),
    ("node_schedstat_waiting_seconds_total", 7, 1e-9, "seconds"),
    ("node_schedstat_timeslices_total", 8, 1.0, ""),
];

pub(super) const METRICS: &str = "node_schedstat_*";

/// Adds the counters of the lines `cpu0 0 0 0 0 0 0 1500 200 30` of `/proc/schedstat`.
pub(super) fn add(text: &str, now_ms: u64, reading: &mut Reading) {
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(cpu) = words.next().and_then(|name| name.strip_prefix("cpu")) else {
            continue;
        };
        let columns: Vec<_> = words.collect();
        for (metric, column, factor, unit) in COUNTERS {
            if let Some(count) = columns.get(column).and_then(|word| word.parse::<u64>().ok()) {
                reading.add(metric, &[("cpu", cpu)], count as f64 * factor, unit, now_ms);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::value;
    use super::*;

    #[test]
    fn times_are_reported_by_cpu() {
        let text = "version 15\ntimestamp 15819019232\ncpu0 498494191 0 3533438552 2553969831 3853684107 2465731542 \
                    2045936778163039 343796328169361 4767485306\ndomain0 00000000,00000003 212499247 210112015\ncpu1 1 2\n";
        let mut reading = Reading::default();
        add(text, 1, &mut reading);
        assert_eq!(
            value(&reading, "node_schedstat_running_seconds_total", &["0"]),
            Some(2_045_936_778_163_039_f64 * 1e-9)
        );
        assert_eq!(
            value(&reading, "node_schedstat_waiting_seconds_total", &["0"]),
            Some(343_796_328_169_361_f64 * 1e-9)
        );
        assert_eq!(
            value(&reading, "node_schedstat_timeslices_total", &["0"]),
            Some(4_767_485_306.0)
        );
        assert_eq!(reading.samples.len(), 3);
    }
}
