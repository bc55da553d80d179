//! Network interfaces: their counters since boot, their properties and their neighbours.

use std::path::PathBuf;

use watchpost_policies::MetricPattern;

use super::net_files::NetFiles;
use super::pattern::Patterns;
use super::{HostOptions, arp, netclass, read};
use crate::collect::probe::{Probe, Reading, patterns};

/// A metric, its column of `/proc/net/dev` after the name, and its unit.
const COUNTERS: [(&str, usize, &str); 16] = [
    ("node_network_receive_bytes_total", 0, "bytes"),
    ("node_network_receive_packets_total", 1, ""),
    ("node_network_receive_errs_total", 2, ""),
    ("node_network_receive_drop_total", 3, ""),
    ("node_network_receive_fifo_total", 4, ""),
    ("node_network_receive_frame_total", 5, ""),
    ("node_network_receive_compressed_total", 6, ""),
    ("node_network_receive_multicast_total", 7, ""),
    ("node_network_transmit_bytes_total", 8, "bytes"),
    ("node_network_transmit_packets_total", 9, ""),
    ("node_network_transmit_errs_total", 10, ""),
    ("node_network_transmit_drop_total", 11, ""),
    ("node_network_transmit_fifo_total", 12, ""),
    ("node_network_transmit_colls_total", 13, ""),
    ("node_network_transmit_carrier_total", 14, ""),
    ("node_network_transmit_compressed_total", 15, ""),
];

const COLUMNS: usize = COUNTERS.len();

pub(super) struct Network {
    files: NetFiles,
    class: PathBuf,
    excluded: Patterns,
}

impl Network {
    pub(super) fn new(options: &HostOptions) -> Self {
        Self {
            files: NetFiles::new(options),
            class: options.sysfs.join("class/net"),
            excluded: Patterns::new(&options.exclude_interfaces),
        }
    }
}

impl Probe for Network {
    fn name(&self) -> &'static str {
        "host.network"
    }

    fn metrics(&self) -> Vec<MetricPattern> {
        patterns(&["node_network_*", arp::METRIC])
    }

    fn measure(&mut self, now_ms: u64) -> Result<Reading, String> {
        let text = read::text(&self.files.path("dev"))?;
        let mut reading = Reading::default();
        for interface in parse(&text).filter(|interface| !self.excluded.cover(interface.name)) {
            let labels = [("device", interface.name)];
            for (metric, column, unit) in COUNTERS {
                reading.add(metric, &labels, interface.columns[column] as f64, unit, now_ms);
            }
            let directory = self.class.join(interface.name);
            if let Some(packets) = read::number(&directory.join("statistics/rx_nohandler")) {
                reading.add("node_network_receive_nohandler_total", &labels, packets, "", now_ms);
            }
            netclass::add(interface.name, &directory, now_ms, &mut reading);
        }
        match read::optional(&self.files.path("arp")) {
            Ok(table) => arp::add(
                table.as_deref().unwrap_or_default(),
                &self.excluded,
                now_ms,
                &mut reading,
            ),
            Err(reason) => reading.miss(self.name(), &[arp::METRIC], reason),
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
            .with("sys/class/net/eth0/operstate", "up\n")
            .with("sys/class/net/eth0/mtu", "1400\n")
            .with("sys/class/net/eth0/statistics/rx_nohandler", "3\n")
            .with("proc/net/arp", "header\n10.0.0.1 0x1 0x2 02:fc:00:00:00:02 * eth0\n");
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
        for (metric, expected) in [
            ("node_network_receive_fifo_total", 25.0),
            ("node_network_receive_frame_total", 26.0),
            ("node_network_receive_compressed_total", 27.0),
            ("node_network_receive_multicast_total", 28.0),
            ("node_network_transmit_fifo_total", 33.0),
            ("node_network_transmit_colls_total", 34.0),
            ("node_network_transmit_carrier_total", 35.0),
            ("node_network_transmit_compressed_total", 36.0),
            ("node_network_receive_nohandler_total", 3.0),
            ("node_network_mtu_bytes", 1400.0),
            ("node_arp_entries", 1.0),
        ] {
            assert_eq!(value(&reading, metric, &["eth0"]), Some(expected), "{metric}");
        }
        assert_eq!(count(&reading, "node_network_info"), 2);
        assert_eq!(reading.samples.len(), 39);
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
        let ones = "1 ".repeat(COLUMNS - 1);
        let odd = format!("eth0: 1 {ones}x\neth0: 1 2\n: 1 {ones}\n../x: 1 {ones}\nx: -1 {ones}\nx: {ones}\n");
        assert_eq!(
            parse(&odd).map(|interface| interface.name).collect::<Vec<_>>(),
            ["eth0"]
        );
        let alias = format!("eth0:1: 18446744073709551615 {ones}\n");
        let alias = parse(&alias).next().expect("an alias");
        assert_eq!((alias.name, alias.columns[0]), ("eth0:1", u64::MAX));
        assert!(Network::new(&Machine::new().options()).measure(1).is_err());
    }
}
