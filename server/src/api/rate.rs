//! Rate limiting: a token bucket for each client, refilled at a steady rate. It does not know the requests.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};
use watchpost_policies::Digest;

/// With so many locks, concurrent threads rarely contend for one.
const SHARDS: usize = 16;

/// Maximum number of buckets in a shard; full buckets carry no information and are removed first.
const MAX_BUCKETS: usize = 4096;

/// The key of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RateKey {
    /// The subject of a certificate.
    Certificate(Digest),
    /// The name of a token.
    Token(Arc<str>),
    /// The address of an anonymous client.
    Address(IpAddr),
    /// The address of a probe.
    Probe(IpAddr),
    /// The address of clients whose authentication failed.
    FailedAuthentication(IpAddr),
}

/// All buckets.
pub struct Rate {
    shards: [Mutex<HashMap<RateKey, Bucket>>; SHARDS],
    hash: RandomState,
}

/// The rate limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateLimit {
    /// Requests per second in the long run; zero disables the limit.
    pub per_second: f64,
    /// Maximum burst of requests.
    pub burst: f64,
}

#[derive(Clone, Copy)]
struct Bucket {
    level: f64,
    at: Instant,
}

impl Default for Rate {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hash: RandomState::new(),
        }
    }
}

impl RateKey {
    /// The anonymous client at an address.
    pub fn at(address: IpAddr) -> Self {
        Self::Address(network_of(address))
    }

    /// The probes from an address.
    pub fn probe(address: IpAddr) -> Self {
        Self::Probe(network_of(address))
    }

    /// The failed authentications from an address.
    pub fn failed_authentication(address: IpAddr) -> Self {
        Self::FailedAuthentication(network_of(address))
    }
}

/// With IPv6 one client has a whole network, so that is the key.
fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => match six.to_ipv4_mapped() {
            Some(four) => four.into(),
            None => IpAddr::from((u128::from(six) & !u128::from(u64::MAX)).to_be_bytes()),
        },
    }
}

impl Rate {
    /// Whether the client has a request left, without consuming it.
    pub fn has(&self, caller: &RateKey, allowed: RateLimit, now: Instant) -> Result<(), u64> {
        let refund = self.take(caller, allowed, now);
        if refund.is_ok() && allowed.per_second > 0.0 {
            let mut buckets = self.shard(caller);
            if let Some(bucket) = buckets.get_mut(caller) {
                bucket.level = (bucket.level + 1.0).min(allowed.burst);
            }
        }
        refund
    }

    fn shard(&self, caller: &RateKey) -> MutexGuard<'_, HashMap<RateKey, Bucket>> {
        let shard = usize::try_from(self.hash.hash_one(caller) % SHARDS as u64).unwrap_or(0);
        self.shards[shard].lock()
    }

    /// Consumes one request of the client's bucket, or returns in how many seconds one is available.
    pub fn take(&self, caller: &RateKey, allowed: RateLimit, now: Instant) -> Result<(), u64> {
        if allowed.per_second <= 0.0 {
            return Ok(());
        }
        let mut buckets = self.shard(caller);
        let level = |bucket: &Bucket| {
            let since = now.saturating_duration_since(bucket.at).as_secs_f64();
            (bucket.level + since * allowed.per_second).min(allowed.burst)
        };
        if buckets.len() >= MAX_BUCKETS && !buckets.contains_key(caller) {
            evict_half(&mut buckets, level);
        }
        let full = Bucket {
            level: allowed.burst,
            at: now,
        };
        if !buckets.contains_key(caller) {
            buckets.insert(caller.clone(), full);
        }
        let Some(bucket) = buckets.get_mut(caller) else {
            return Ok(());
        };
        *bucket = Bucket {
            level: level(bucket),
            at: now,
        };
        if bucket.level >= 1.0 {
            bucket.level -= 1.0;
            return Ok(());
        }
        Err(((1.0 - bucket.level) / allowed.per_second).ceil().max(1.0) as u64)
    }
}

/// Removes the fullest half of the buckets, which carry the least information. The cost is linear, and is paid once for
/// as many new clients as buckets were removed.
fn evict_half(buckets: &mut HashMap<RateKey, Bucket>, level: impl Fn(&Bucket) -> f64) {
    let mut levels: Vec<f64> = buckets.values().map(&level).collect();
    let mut remaining = levels.len() / 2;
    let (_, median, _) = levels.select_nth_unstable_by(remaining, f64::total_cmp);
    let median = *median;
    buckets.retain(|_, bucket| {
        let kept = level(bucket) <= median && remaining > 0;
        remaining -= usize::from(kept);
        kept
    });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ALLOWED: RateLimit = RateLimit {
        per_second: 2.0,
        burst: 3.0,
    };

    fn at(address: u8) -> RateKey {
        RateKey::Address(IpAddr::from([10, 0, 0, address]))
    }

    #[test]
    fn a_burst_passes_and_then_the_steady_rate() {
        let (rate, begin) = (Rate::default(), Instant::now());
        for _ in 0..3 {
            assert_eq!(rate.take(&at(1), ALLOWED, begin), Ok(()));
        }
        assert_eq!(rate.take(&at(1), ALLOWED, begin), Err(1));
        assert_eq!(
            rate.take(&at(2), ALLOWED, begin),
            Ok(()),
            "other clients are unaffected"
        );
        let later = begin + Duration::from_millis(500);
        assert_eq!(rate.take(&at(1), ALLOWED, later), Ok(()));
        assert_eq!(rate.take(&at(1), ALLOWED, later), Err(1));
    }

    #[test]
    fn many_clients_do_not_exhaust_the_memory() {
        let (rate, now) = (Rate::default(), Instant::now());
        for name in 0..200_000_u32 {
            let _ = rate.take(&RateKey::Address(IpAddr::from(name.to_be_bytes())), ALLOWED, now);
        }
        let kept: usize = rate.shards.iter().map(|shard| shard.lock().len()).sum();
        assert!(kept <= SHARDS * MAX_BUCKETS, "{kept}");
    }

    #[test]
    fn eviction_keeps_the_emptiest_half_and_makes_room_for_as_many_new_clients() {
        let now = Instant::now();
        let bucket = |number: u32| Bucket {
            level: f64::from(number % 7),
            at: now,
        };
        let key = |number: u32| RateKey::Address(IpAddr::from(number.to_be_bytes()));
        for equal in [false, true] {
            let all = (0..4096).map(|number| (key(number), bucket(if equal { 3 } else { number })));
            let mut buckets: HashMap<RateKey, Bucket> = all.collect();
            evict_half(&mut buckets, |bucket| bucket.level);
            assert_eq!(buckets.len(), 2048, "equal levels: {equal}");
            let fullest = buckets.values().map(|bucket| bucket.level).fold(0.0, f64::max);
            assert!(fullest <= 3.0, "{fullest}");
        }
    }

    #[test]
    fn probes_and_failed_authentications_have_buckets_of_their_own() {
        let (rate, now) = (Rate::default(), Instant::now());
        let address = IpAddr::from([10, 0, 0, 1]);
        while rate.take(&RateKey::at(address), ALLOWED, now).is_ok() {}
        for other in [RateKey::probe(address), RateKey::failed_authentication(address)] {
            assert_eq!(rate.take(&other, ALLOWED, now), Ok(()), "{other:?}");
        }
    }

    #[test]
    fn no_limit_is_no_limit() {
        let rate = Rate::default();
        let none = RateLimit {
            per_second: 0.0,
            burst: 0.0,
        };
        assert!((0..1000).all(|_| rate.take(&at(1), none, Instant::now()).is_ok()));
    }
}
