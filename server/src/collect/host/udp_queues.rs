//! The memory in the send and receive queues of all UDP sockets. A growing receive queue belongs to a program that does
//! not read fast enough.

use crate::collect::probe::Reading;

pub(super) const METRIC: &str = "node_udp_queues";

/// Adds the sums of a table of sockets, such as `/proc/net/udp`.
pub(super) fn add(version: &str, table: &str, now_ms: u64, reading: &mut Reading) {
    let (mut sent, mut received) = (0.0, 0.0);
    for (tx, rx) in table.lines().filter_map(queues) {
        sent += f64::from(tx);
        received += f64::from(rx);
    }
    for (queue, bytes) in [("tx", sent), ("rx", received)] {
        reading.add(METRIC, &[("ip", version), ("queue", queue)], bytes, "", now_ms);
    }
}

/// The fifth field of a socket: `00000000:00000A00`. The header has no such field.
fn queues(line: &str) -> Option<(u32, u32)> {
    let (tx, rx) = line.split_ascii_whitespace().nth(4)?.split_once(':')?;
    let number = |hexadecimal| u32::from_str_radix(hexadecimal, 16).ok();
    Some((number(tx)?, number(rx)?))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::value;
    use super::*;

    #[test]
    fn the_queues_of_all_sockets_are_added() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n\
                     101: 00000000:0035 00000000:0000 07 00000001:0000000A 00:00000000 00000000\n\
                     102: 0100007F:0035 00000000:0000 07 00000002:00000014 00:00000000 00000000\n\
                     103: cut 00000000:0000 07 0000000\n";
        let mut reading = Reading::default();
        add("v4", table, 1, &mut reading);
        assert_eq!(value(&reading, METRIC, &["v4", "tx"]), Some(3.0));
        assert_eq!(value(&reading, METRIC, &["v4", "rx"]), Some(30.0));
    }
}
