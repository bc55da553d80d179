//! Network interface counters since boot, and which interfaces are up.

use std::path::PathBuf;

use watchpost_policies::MetricPattern;

use super::pattern::Patterns;
use super::{HostOptions, read};
use crate::collect::probe::{Probe, Reading, patterns};

/// A metric, its column of `/proc/net/dev` after the name, and its unit.
const COUNTERS: [(&str, usize, &str); 8] = [
    ("node_network_receive_bytes_total", 0, "bytes"),
    ("node_network_receive_packets_total", 1, ""),
    ("node_network_receive_errs_total", 2, ""),
    ("node_network_receive_drop_total", 3, ""),
    ("node_network_transmit_bytes_total", 8, "bytes"),
    ("node_network_transmit_packets_total", 9, ""),
    ("node_network_transmit_errs_total", 10, ""),
    ("node_network_transmit_drop_total", 11, ""),
];

const COLUMNS: usize = 12;

pub(super) struct Network {
    procfs: PathBuf,
    is_own_view: bool,
    class: PathBuf,
    excluded: Patterns,
}

impl Network {
    pub(super) fn new(options: &HostOptions) -> Self {
        Self {
            procfs: options.procfs.clone(),
            is_own_view: options.is_own_view(),
            class: options.sysfs.join("class/net"),
            excluded: Patterns::new(&options.exclude_interfaces),
        }
    }

    /// `net` is that of the reading process, which may be in a container; the host's is that of process 1.
    fn dev(&self) -> PathBuf {
        let own = self.procfs.join("net/dev");
        let first = self.procfs.join("1/net/dev");
        if self.is_own_view || !first.exists() {
            own
        } else {
            first
        }
    }
}

impl Probe for Network {
    fn name(&self) -> &'static str {
        "host.network"
    }

    fn metrics(&self) -> Vec<MetricPattern> {
        patterns(&["node_network_*"])
    }

    fn measure(&mut self, now_ms: u64) -> Result<Reading, String> {
        let text = read::text(&self.dev())?;
        let mut reading = Reading::default();
        for interface in parse(&text).filter(|interface| !self.excluded.cover(interface.name)) {
            let labels = [("device", interface.name)];
            for (metric, column, unit) in COUNTERS {
                reading.add(metric, &labels, interface.columns[column] as f64, unit, now_ms);
            }
            // An alias such as `eth0:1` has no directory.
            if let Some(state) = read::trimmed(&self.class.join(interface.name).join("operstate")) {
                let up = if state == "up" { 1.0 } else { 0.0 };
                reading.add("node_network_up", &labels, up, "", now_ms);
            }
        }
        Ok(reading)
    }
}

struct Interface<'t> {
    name: &'t str,
    columns: [u64; COLUMNS],
}

/// Lines in another format are skipped, including the two header lines.
fn parse(text: &str) -> impl Iterator<Item = Interface<'_>> {
    text.lines().filter_map(|line| {
        let (name, rest) = line.rsplit_once(':')?;
        let mut words = rest.split_ascii_whitespace();
        let mut columns = [0; COLUMNS];
        for column in &mut columns {
            *column = words.next()?.parse().ok()?;
        }
        let name = name.trim();
        // A slash would leave the directory of interfaces; the kernel does not allow one in a name.
        (!name.is_empty() && !name.contains('/')).then_some(Interface { name, columns })
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Machine, count, value};
    use super::*;

    const DEV: &str = "Inter-|   Receive        |  Transmit\n face |bytes    packets errs|bytes\n    \
        lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n  eth0:21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36\n";

    #[test]
    fn interfaces_are_reported_as_by_node_exporter() {
        let machine = Machine::new()
            .with("proc/net/dev", DEV)
            .with("sys/class/net/lo/operstate", "unknown\n")
            .with("sys/class/net/eth0/operstate", "up\n");
        let reading = Network::new(&machine.options()).measure(1).expect("measured");
        assert_eq!(
            value(&reading, "node_network_receive_bytes_total", &["eth0"]),
            Some(21.0)
        );
        assert_eq!(
            value(&reading, "node_network_receive_drop_total", &["eth0"]),
            Some(24.0)
        );
        assert_eq!(
            value(&reading, "node_network_transmit_bytes_total", &["eth0"]),
            Some(29.0)
        );
        assert_eq!(value(&reading, "node_network_transmit_drop_total", &["lo"]), Some(12.0));
        assert_eq!(value(&reading, "node_network_up", &["eth0"]), Some(1.0));
        assert_eq!(value(&reading, "node_network_up", &["lo"]), Some(0.0));
        assert_eq!(reading.samples.len(), 18);
    }

    #[test]
    fn the_host_s_interfaces_are_those_of_its_first_process() {
        let machine = Machine::new().with("proc/net/dev", "").with("proc/1/net/dev", DEV);
        let options = HostOptions {
            exclude_interfaces: vec!["e*".to_owned()],
            ..machine.options()
        };
        let reading = Network::new(&options).measure(1).expect("measured");
        assert_eq!(count(&reading, "node_network_receive_bytes_total"), 1);
        assert_eq!(count(&reading, "node_network_up"), 0, "missing");
    }

    #[test]
    fn invalid_lines_are_skipped() {
        let odd = "eth0: 1 2\n: 1 1 1 1 1 1 1 1 1 1 1 1\n../x: 1 1 1 1 1 1 1 1 1 1 1 1\nx: -1 1 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(parse(odd).count(), 0);
        let alias = parse("eth0:1: 18446744073709551615 1 1 1 1 1 1 1 1 1 1 1\n")
            .next()
            .expect("an alias");
        assert_eq!((alias.name, alias.columns[0]), ("eth0:1", u64::MAX));
        assert!(Network::new(&Machine::new().options()).measure(1).is_err());
    }
}
