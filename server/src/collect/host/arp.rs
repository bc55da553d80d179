//! The number of known neighbours in the network (ARP entries) of each interface.

use std::collections::BTreeMap;

use super::pattern::Patterns;
use crate::collect::probe::Reading;

pub(super) const METRIC: &str = "node_arp_entries";

/// Adds the numbers of entries in `/proc/net/arp`, whose last column is the interface.
pub(super) fn add(table: &str, excluded: &Patterns, now_ms: u64, reading: &mut Reading) {
    let mut entries = BTreeMap::<&str, u64>::new();
    for line in table.lines().skip(1) {
        let columns: Vec<_> = line.split_ascii_whitespace().collect();
        if let [_, _, _, _, _, device] = columns[..]
            && !excluded.cover(device)
        {
            *entries.entry(device).or_default() += 1;
        }
    }
    for (device, count) in entries {
        reading.add(METRIC, &[("device", device)], count as f64, "", now_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::value;
    use super::*;

    #[test]
    fn entries_are_counted_by_interface() {
        let table = "IP address       HW type     Flags       HW address            Mask     Device\n\
                     10.0.0.1         0x1         0x2         02:fc:00:00:00:02     *        eth0\n\
                     10.0.0.2         0x1         0x0         00:00:00:00:00:00     *        eth0\n\
                     10.0.0.3         0x1         0x2         02:fc:00:00:00:03     *        eth1\n\
                     10.0.0.4         0x1         0x2         02:fc:00:00:00:04     *        veth1\n\
                     10.0.0.5         0x1\n";
        let mut reading = Reading::default();
        add(table, &Patterns::new(&["veth*".to_owned()]), 1, &mut reading);
        assert_eq!(value(&reading, METRIC, &["eth0"]), Some(2.0));
        assert_eq!(value(&reading, METRIC, &["eth1"]), Some(1.0));
        assert_eq!(reading.samples.len(), 2);
    }
}
