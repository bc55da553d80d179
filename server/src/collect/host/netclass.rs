//! The properties of a network interface in `/sys/class/net`: speed, carrier, MTU, addresses. The kernel reports some
//! only while the interface is up.

use std::path::Path;

use super::read;
use crate::collect::probe::Reading;

/// The kernel reports megabits per second.
const BYTES_PER_MEGABIT: f64 = 125_000.0;

/// Whether an administrator has switched the interface on.
const FLAG_UP: u64 = 1;

/// A metric, its file, the factor to its unit, and the unit.
const PROPERTIES: [(&str, &str, f64, &str); 17] = [
    ("node_network_address_assign_type", "addr_assign_type", 1.0, ""),
    ("node_network_carrier", "carrier", 1.0, ""),
    ("node_network_carrier_changes_total", "carrier_changes", 1.0, ""),
    ("node_network_carrier_down_changes_total", "carrier_down_count", 1.0, ""),
    ("node_network_carrier_up_changes_total", "carrier_up_count", 1.0, ""),
    ("node_network_device_id", "dev_id", 1.0, ""),
    ("node_network_dormant", "dormant", 1.0, ""),
    ("node_network_flags", "flags", 1.0, ""),
    ("node_network_iface_id", "ifindex", 1.0, ""),
    ("node_network_iface_link", "iflink", 1.0, ""),
    ("node_network_iface_link_mode", "link_mode", 1.0, ""),
    ("node_network_mtu_bytes", "mtu", 1.0, "bytes"),
    ("node_network_name_assign_type", "name_assign_type", 1.0, ""),
    ("node_network_net_dev_group", "netdev_group", 1.0, ""),
    ("node_network_protocol_type", "type", 1.0, ""),
    ("node_network_speed_bytes", "speed", BYTES_PER_MEGABIT, "bytes"),
    ("node_network_transmit_queue_length", "tx_queue_len", 1.0, ""),
];

/// Adds the properties of the interface with this directory.
pub(super) fn add(device: &str, directory: &Path, now_ms: u64, reading: &mut Reading) {
    let text = |file: &str| read::trimmed(&directory.join(file));
    // An alias such as `eth0:1` has no directory.
    let Some(operstate) = text("operstate") else { return };
    let labels = [("device", device)];
    let up = if operstate == "up" { 1.0 } else { 0.0 };
    reading.add("node_network_up", &labels, up, "", now_ms);
    let mut flags = None;
    for (metric, file, factor, unit) in PROPERTIES {
        let Some(number) = text(file).as_deref().and_then(parse) else {
            continue;
        };
        if file == "flags" {
            flags = Some(number as u64);
        }
        reading.add(metric, &labels, number * factor, unit, now_ms);
    }
    let adminstate = match flags {
        Some(flags) if flags & FLAG_UP == 0 => "down",
        Some(_) => "up",
        None => "unknown",
    };
    let [address, broadcast, duplex, ifalias] =
        ["address", "broadcast", "duplex", "ifalias"].map(|file| text(file).unwrap_or_default());
    let labels = [
        ("address", address.as_str()),
        ("adminstate", adminstate),
        ("broadcast", &broadcast),
        ("device", device),
        ("duplex", &duplex),
        ("ifalias", &ifalias),
        ("operstate", &operstate),
    ];
    reading.add("node_network_info", &labels, 1.0, "", now_ms);
}

/// A number, decimal or as `0x1003`. An unknown speed is -1.
fn parse(text: &str) -> Option<f64> {
    let number = match text.strip_prefix("0x") {
        Some(hexadecimal) => i64::from_str_radix(hexadecimal, 16).ok()?,
        None => text.parse().ok()?,
    };
    Some(number as f64)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Machine, count, value};
    use super::*;

    #[test]
    fn properties_are_reported_as_by_node_exporter() {
        let machine = Machine::new();
        for (file, text) in [
            ("operstate", "up\n"),
            ("address", "02:fc:00:00:00:01\n"),
            ("broadcast", "ff:ff:ff:ff:ff:ff\n"),
            ("duplex", "full\n"),
            ("ifalias", "\n"),
            ("flags", "0x1003\n"),
            ("speed", "1000\n"),
            ("mtu", "1400\n"),
            ("carrier", "1\n"),
            ("carrier_changes", "4\n"),
            ("dev_id", "0x0\n"),
            ("tx_queue_len", "odd\n"),
        ] {
            machine.write(&format!("eth0/{file}"), text);
        }
        let mut reading = Reading::default();
        add("eth0", &machine.path().join("eth0"), 1, &mut reading);
        for (metric, expected) in [
            ("node_network_up", 1.0),
            ("node_network_flags", 4099.0),
            ("node_network_speed_bytes", 125_000_000.0),
            ("node_network_mtu_bytes", 1400.0),
            ("node_network_carrier", 1.0),
            ("node_network_carrier_changes_total", 4.0),
            ("node_network_device_id", 0.0),
        ] {
            assert_eq!(value(&reading, metric, &["eth0"]), Some(expected), "{metric}");
        }
        let labels = ["02:fc:00:00:00:01", "up", "ff:ff:ff:ff:ff:ff", "eth0", "full", "", "up"];
        assert_eq!(value(&reading, "node_network_info", &labels), Some(1.0));
        assert_eq!(count(&reading, "node_network_transmit_queue_length"), 0);
        assert_eq!((reading.samples.len(), reading.gaps.len()), (8, 0));
    }

    #[test]
    fn an_interface_without_a_directory_has_no_properties() {
        let mut reading = Reading::default();
        add("eth0:1", &Machine::new().path().join("eth0:1"), 1, &mut reading);
        assert_eq!(reading, Reading::default());
    }

    #[test]
    fn numbers_may_be_hexadecimal_and_negative() {
        for (text, expected) in [
            ("0x1003", Some(4099.0)),
            ("-1", Some(-1.0)),
            ("65536", Some(65_536.0)),
            ("", None),
            ("0x", None),
            ("1.5", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
