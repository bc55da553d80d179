//! Counters of the network protocols since boot: the fields of TCP, UDP, IP and ICMP that `node_exporter` exports by
//! default. A kernel without a protocol has no such fields, which is not an error.

use watchpost_policies::MetricPattern;

use super::net_files::NetFiles;
use super::{HostOptions, read};
use crate::collect::probe::{Probe, Reading, patterns};

type Parse = fn(&str) -> Vec<Field<'_>>;

/// A file and its parser.
const FILES: [(&str, Parse); 3] = [("netstat", pairs), ("snmp", pairs), ("snmp6", lines)];

pub(super) struct Netstat(NetFiles);

impl Netstat {
    pub(super) fn new(options: &HostOptions) -> Self {
        Self(NetFiles::new(options))
    }
}

impl Probe for Netstat {
    fn name(&self) -> &'static str {
        "host.netstat"
    }

    fn metrics(&self) -> Vec<MetricPattern> {
        patterns(&["node_netstat_*"])
    }

    fn measure(&mut self, now_ms: u64) -> Result<Reading, String> {
        let mut reading = Reading::default();
        for (file, parse) in FILES {
            match read::optional(&self.0.path(file)) {
                Ok(text) => {
                    for field in parse(text.as_deref().unwrap_or_default()) {
                        if is_exported(field.protocol, field.name) {
                            let metric = format!("node_netstat_{}_{}", field.protocol, field.name);
                            reading.add(&metric, &[], field.value, "", now_ms);
                        }
                    }
                }
                Err(reason) => reading.miss(self.name(), &["node_netstat_*"], reason),
            }
        }
        Ok(reading)
    }
}

struct Field<'t> {
    protocol: &'t str,
    name: &'t str,
    value: f64,
}

/// Parses lines in pairs: `Udp: InDatagrams NoPorts` and `Udp: 17 0`. Others are skipped.
fn pairs(text: &str) -> Vec<Field<'_>> {
    let mut fields = Vec::new();
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let (Some((protocol, names)), Some((same, values))) = (names.split_once(':'), values.split_once(':')) else {
            continue;
        };
        if protocol != same {
            continue;
        }
        let pairs = names.split_ascii_whitespace().zip(values.split_ascii_whitespace());
        fields.extend(pairs.filter_map(|(name, value)| field(protocol, name, value)));
    }
    fields
}

/// Parses lines such as `Udp6InDatagrams 17`, in which the protocol ends with its version.
fn lines(text: &str) -> Vec<Field<'_>> {
    let of_line = |line: &'_ str| -> Option<(usize, usize)> {
        let digit = line.find('6')?;
        let end = line.find(|letter: char| letter.is_ascii_whitespace())?;
        (digit < end).then_some((digit + 1, end))
    };
    text.lines()
        .filter_map(|line| {
            let (split, end) = of_line(line)?;
            field(&line[..split], &line[split..end], line[end..].trim())
        })
        .collect()
}

/// Some fields may be negative, such as the maximum of connections, which is -1 without a maximum.
fn field<'t>(protocol: &'t str, name: &'t str, value: &str) -> Option<Field<'t>> {
    let value = value.parse::<i128>().ok()? as f64;
    Some(Field { protocol, name, value })
}

/// Whether `node_exporter` exports the field by default.
fn is_exported(protocol: &str, name: &str) -> bool {
    let starts = |beginnings: &[&str]| beginnings.iter().any(|beginning| name.starts_with(beginning));
    let is_one_of = |names: &[&str]| names.contains(&name);
    let is_legal = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let by_protocol = match protocol {
        "Ip" => name == "Forwarding",
        "Ip6" | "IpExt" => is_one_of(&["InOctets", "OutOctets"]),
        "Icmp" | "Icmp6" => is_one_of(&["InMsgs", "OutMsgs"]),
        "Tcp" => is_one_of(&[
            "ActiveOpens",
            "CurrEstab",
            "InSegs",
            "OutRsts",
            "OutSegs",
            "PassiveOpens",
            "RetransSegs",
        ]),
        "TcpExt" => {
            starts(&["Listen", "Syncookies"])
                || is_one_of(&["TCPOFOQueue", "TCPRcvQDrop", "TCPSynRetrans", "TCPTimeouts"])
        }
        "Udp" | "Udp6" => is_one_of(&["InDatagrams", "NoPorts", "OutDatagrams", "RcvbufErrors", "SndbufErrors"]),
        _ => false,
    };
    is_legal(protocol) && is_legal(name) && (by_protocol || is_one_of(&["InErrors", "InErrs"]))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Machine, value};
    use super::*;

    const SNMP: &str = "Ip: Forwarding DefaultTTL\nIp: 1 64\nIcmp: InMsgs InErrors OutMsgs\nIcmp: 3 1 4\n\
        Tcp: RtoAlgorithm MaxConn ActiveOpens InErrs\nTcp: 1 -1 50 2\nUdpLite: InErrors NoPorts\nUdpLite: 7 8\n";

    #[test]
    fn the_fields_of_node_exporter_are_reported_and_no_others() {
        let machine = Machine::new()
            .with("proc/net/snmp", SNMP)
            .with(
                "proc/net/netstat",
                "TcpExt: SyncookiesSent ListenDrops TCPTimeouts PAWSEstab\nTcpExt: 5 6 7 8\nIpExt: InOctets\nIpExt: 9\n",
            )
            .with(
                "proc/net/snmp6",
                "Ip6InOctets        \t23904\nIcmp6InMsgs\t3\nIcmp6InEchos 4\nUdp6InErrors 5\nUdpLite6InErrors 6\n",
            );
        let reading = Netstat::new(&machine.options()).measure(1).expect("measured");
        for (metric, expected) in [
            ("node_netstat_Ip_Forwarding", 1.0),
            ("node_netstat_Icmp_InMsgs", 3.0),
            ("node_netstat_Icmp_InErrors", 1.0),
            ("node_netstat_Icmp_OutMsgs", 4.0),
            ("node_netstat_Tcp_ActiveOpens", 50.0),
            ("node_netstat_Tcp_InErrs", 2.0),
            ("node_netstat_UdpLite_InErrors", 7.0),
            ("node_netstat_TcpExt_SyncookiesSent", 5.0),
            ("node_netstat_TcpExt_ListenDrops", 6.0),
            ("node_netstat_TcpExt_TCPTimeouts", 7.0),
            ("node_netstat_IpExt_InOctets", 9.0),
            ("node_netstat_Ip6_InOctets", 23904.0),
            ("node_netstat_Icmp6_InMsgs", 3.0),
            ("node_netstat_Udp6_InErrors", 5.0),
            ("node_netstat_UdpLite6_InErrors", 6.0),
        ] {
            assert_eq!(value(&reading, metric, &[]), Some(expected), "{metric}");
        }
        assert_eq!((reading.samples.len(), reading.gaps.len()), (15, 0));
    }

    #[test]
    fn invalid_lines_are_skipped_and_missing_files_are_not_an_error() {
        let odd =
            "Tcp: InSegs\nUdp: 1\nTcp: InSegs OutSegs\nTcp: x 5\nTcp InSegs\nTcp 1\nX-Y: InErrors\nX-Y: 1\nTcp: InSegs";
        let machine = Machine::new()
            .with("proc/net/snmp", odd)
            .with("proc/net/snmp6", "InOctets6 1\nIp6InOctets\nIp6InOctets x\n\n6 1\n");
        let reading = Netstat::new(&machine.options()).measure(1).expect("measured");
        assert_eq!(value(&reading, "node_netstat_Tcp_OutSegs", &[]), Some(5.0));
        assert_eq!((reading.samples.len(), reading.gaps.len()), (1, 0));
        assert_eq!(
            Netstat::new(&Machine::new().options()).measure(1),
            Ok(Reading::default())
        );
    }

    #[test]
    fn a_file_that_cannot_be_read_is_a_gap() {
        let machine = Machine::new().with("proc/net/snmp/x", "").with("proc/1/net/dev", "");
        let reading = Netstat::new(&machine.options()).measure(1).expect("measured");
        assert_eq!(reading.gaps.len(), 0, "the network of process 1 counts");
        let machine = Machine::new().with("proc/net/snmp/x", "");
        let reading = Netstat::new(&machine.options()).measure(1).expect("measured");
        assert!(reading.gaps[0].reason.contains("net/snmp"), "{:?}", reading.gaps);
    }
}
