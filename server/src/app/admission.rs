//! Limits the number of open connections, in total and per address, before the TLS handshake. It does not know what a
//! connection is used for.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

/// Connections per worker that only clients on this machine get when all others are in use: health checks and the
/// operator's command line.
pub(super) const LOOPBACK_RESERVE: usize = 16;

/// The limits.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionLimits {
    /// Maximum number of connections, without the reserve.
    pub(super) total: usize,
    /// Size of the reserve for loopback addresses.
    pub(super) reserve: usize,
    /// Maximum number of connections of an IPv4 address or an IPv6 network of 64 bits.
    pub(super) per_address: usize,
}

/// The open connections of all listeners and workers.
#[derive(Debug)]
pub(super) struct Admission {
    limits: ConnectionLimits,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// An open connection; it is counted until it is dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    admission: Arc<Admission>,
    /// `None` if the connection does not count towards the limit of an address.
    address: Option<IpAddr>,
}

/// The limit that a refused connection would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Total,
    PerAddress,
}

impl Admission {
    pub(super) fn new(limits: ConnectionLimits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            open: Mutex::default(),
        })
    }

    /// Counts a connection from this address, or refuses it. A trusted reverse proxy has connections for many clients,
    /// so only the total limits it.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr, is_trusted_proxy: bool) -> Result<Admitted, Refused> {
        let address = address.to_canonical();
        let limits = self.limits;
        let max_total = match address.is_loopback() {
            true => limits.total + limits.reserve,
            false => limits.total,
        };
        let mut open = self.open.lock();
        let key = (!is_trusted_proxy).then(|| network(address));
        if let Some(key) = key
            && open
                .by_address
                .get(&key)
                .is_some_and(|count| *count >= limits.per_address)
        {
            return Err(Refused::PerAddress);
        }
        if open.total >= max_total {
            return Err(Refused::Total);
        }
        open.total += 1;
        if let Some(key) = key {
            *open.by_address.entry(key).or_default() += 1;
        }
        Ok(Admitted {
            admission: self.clone(),
            address: key,
        })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = self.admission.open.lock();
        open.total -= 1;
        if let Some(address) = self.address
            && let Entry::Occupied(mut count) = open.by_address.entry(address)
        {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// A client usually has a whole IPv6 network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn admission(total: usize, reserve: usize, per_address: usize) -> Arc<Admission> {
        Admission::new(ConnectionLimits {
            total,
            reserve,
            per_address,
        })
    }

    #[test]
    fn an_address_gets_its_connections_and_no_more_and_others_are_unaffected() {
        let admission = admission(100, 0, 2);
        let admit = |text: &str| admission.admit(address(text), false);
        let first = admit("192.0.2.1").expect("the first");
        let _second = admit("::ffff:192.0.2.1").expect("the second, in another notation");
        assert_eq!(admit("192.0.2.1").err(), Some(Refused::PerAddress));
        let _other = admit("192.0.2.2").expect("another address");
        drop(first);
        let _third = admit("192.0.2.1").expect("after the first ended");
        assert_eq!(admit("192.0.2.1").err(), Some(Refused::PerAddress));
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_a_limit() {
        let admission = admission(100, 0, 1);
        let _first = admission.admit(address("2001:db8::1"), false).expect("the first");
        let second = admission.admit(address("2001:db8::ffff:0:0:2"), false);
        assert_eq!(second.err(), Some(Refused::PerAddress));
        assert!(admission.admit(address("2001:db8:0:1::1"), false).is_ok());
    }

    #[test]
    fn a_trusted_proxy_is_limited_by_the_total_only() {
        let admission = admission(3, 0, 1);
        let all: Vec<_> = (0..3).map(|_| admission.admit(address("192.0.2.1"), true)).collect();
        assert!(all.iter().all(Result::is_ok));
        assert_eq!(admission.admit(address("192.0.2.1"), true).err(), Some(Refused::Total));
        drop(all);
        assert!(admission.admit(address("192.0.2.1"), true).is_ok());
    }

    #[test]
    fn the_reserve_is_for_loopback_addresses() {
        let admission = admission(1, 1, 10);
        let _remote = admission.admit(address("192.0.2.1"), false).expect("the only one");
        assert_eq!(admission.admit(address("192.0.2.2"), false).err(), Some(Refused::Total));
        let _local = admission.admit(address("::1"), false).expect("the reserve");
        assert_eq!(admission.admit(address("127.0.0.1"), false).err(), Some(Refused::Total));
    }

    #[test]
    fn an_address_without_connections_takes_no_memory() {
        let admission = admission(10, 0, 10);
        drop(admission.admit(address("192.0.2.1"), false));
        assert!(admission.open.lock().by_address.is_empty());
        assert_eq!(admission.open.lock().total, 0);
    }
}
