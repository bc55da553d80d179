//! The number of sockets by protocol and the memory of their buffers, and the lengths of the UDP queues.

use watchpost_policies::MetricPattern;

use super::net_files::NetFiles;
use super::{HostOptions, read, udp_queues};
use crate::collect::probe::{Probe, Reading, patterns};

/// The values of a protocol that are reported.
const VALUES: [&str; 6] = ["inuse", "orphan", "tw", "alloc", "mem", "memory"];

pub(super) struct Sockstat(NetFiles);

impl Sockstat {
    pub(super) fn new(options: &HostOptions) -> Self {
        Self(NetFiles::new(options))
    }
}

impl Probe for Sockstat {
    fn name(&self) -> &'static str {
        "host.sockstat"
    }

    fn metrics(&self) -> Vec<MetricPattern> {
        patterns(&["node_sockstat_*", udp_queues::METRIC])
    }

    fn measure(&mut self, now_ms: u64) -> Result<Reading, String> {
        let mut reading = Reading::default();
        for file in ["sockstat", "sockstat6"] {
            match read::optional(&self.0.path(file)) {
                Ok(text) => add(text.as_deref().unwrap_or_default(), now_ms, &mut reading),
                Err(reason) => reading.miss(self.name(), &["node_sockstat_*"], reason),
            }
        }
        for (version, file) in [("v4", "udp"), ("v6", "udp6")] {
            match read::optional(&self.0.path(file)) {
                Ok(Some(table)) => udp_queues::add(version, &table, now_ms, &mut reading),
                Ok(None) => {}
                Err(reason) => reading.miss(self.name(), &[udp_queues::METRIC], reason),
            }
        }
        Ok(reading)
    }
}

/// Adds lines such as `TCP: inuse 4 orphan 0 tw 1 alloc 4 mem 125`, in which `mem` is in pages.
fn add(text: &str, now_ms: u64, reading: &mut Reading) {
    for line in text.lines() {
        let Some((protocol, rest)) = line.split_once(':') else {
            continue;
        };
        let is_legal = !protocol.is_empty() && protocol.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let words: Vec<_> = rest.split_ascii_whitespace().collect();
        for pair in words.chunks_exact(2) {
            let Ok(count) = pair[1].parse::<u64>() else { continue };
            match (protocol, pair[0]) {
                ("sockets", "used") => reading.add("node_sockstat_sockets_used", &[], count as f64, "", now_ms),
                ("sockets", _) => {}
                (_, value) if is_legal && VALUES.contains(&value) => {
                    let metric = format!("node_sockstat_{protocol}_{value}");
                    reading.add(&metric, &[], count as f64, "", now_ms);
                    if value == "mem" {
                        let bytes = count as f64 * rustix::param::page_size() as f64;
                        reading.add(&format!("{metric}_bytes"), &[], bytes, "bytes", now_ms);
                    }
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Machine, count, value};
    use super::*;

    #[test]
    fn sockets_are_reported_as_by_node_exporter() {
        let machine = Machine::new()
            .with(
                "proc/net/sockstat",
                "sockets: used 22\nTCP: inuse 4 orphan 1 tw 2 alloc 5 mem 3\nUDP: inuse 6 mem 0\nFRAG: inuse 7 memory 8\n",
            )
            .with("proc/net/sockstat6", "TCP6: inuse 9\n")
            .with(
                "proc/net/udp",
                "  sl  local_address rem_address   st tx_queue rx_queue tr\n   1: 00000000:0035 00000000:0000 07 00000010:00000002 00:00000000\n",
            );
        let reading = Sockstat::new(&machine.options()).measure(1).expect("measured");
        let page = rustix::param::page_size() as f64;
        for (metric, expected) in [
            ("node_sockstat_sockets_used", 22.0),
            ("node_sockstat_TCP_inuse", 4.0),
            ("node_sockstat_TCP_orphan", 1.0),
            ("node_sockstat_TCP_tw", 2.0),
            ("node_sockstat_TCP_alloc", 5.0),
            ("node_sockstat_TCP_mem", 3.0),
            ("node_sockstat_TCP_mem_bytes", 3.0 * page),
            ("node_sockstat_UDP_inuse", 6.0),
            ("node_sockstat_UDP_mem_bytes", 0.0),
            ("node_sockstat_FRAG_memory", 8.0),
            ("node_sockstat_TCP6_inuse", 9.0),
        ] {
            assert_eq!(value(&reading, metric, &[]), Some(expected), "{metric}");
        }
        assert_eq!(value(&reading, "node_udp_queues", &["v4", "tx"]), Some(16.0));
        assert_eq!(count(&reading, "node_udp_queues"), 2, "there is no IPv6");
        assert_eq!(reading.gaps, []);
    }

    #[test]
    fn invalid_lines_are_skipped_and_missing_files_are_not_an_error() {
        let odd = "TCP\n: inuse 1\nT-P: inuse 1\nTCP: inuse x tw\nTCP: odd 5\nsockets: inuse 3\n";
        let machine = Machine::new().with("proc/net/sockstat", odd);
        let mut sockstat = Sockstat::new(&machine.options());
        assert_eq!(sockstat.measure(1), Ok(Reading::default()));
        let mut without = Sockstat::new(&Machine::new().options());
        assert_eq!(without.measure(1), Ok(Reading::default()));
    }
}
