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
    /// The client at an address. With IPv6 one client has a whole network, so that is the key.
    pub fn at(address: IpAddr) -> Self {
        Self::Address(match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(six) => match six.to_ipv4_mapped() {
                Some(four) => four.into(),
                None => IpAddr::from((u128::from(six) & !u128::from(u64::MAX)).to_be_bytes()),
            },
        })
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
            buckets.retain(|_, bucket| level(bucket) < allowed.burst);
            // All buckets are in use: a client uses many names. The fullest buckets are removed first.
            if buckets.len() >= MAX_BUCKETS {
                let mut levels: Vec<f64> = buckets.values().map(level).collect();
                levels.sort_by(f64::total_cmp);
                let half = levels[levels.len() / 2];
                let mut remaining = MAX_BUCKETS / 2;
                buckets.retain(|_, bucket| {
                    let kept = level(bucket) <= half && remaining > 0;
                    remaining -= usize::from(kept);
                    kept
                });
            }
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
    fn no_limit_is_no_limit() {
        let rate = Rate::default();
        let none = RateLimit {
            per_second: 0.0,
            burst: 0.0,
        };
        assert!((0..1000).all(|_| rate.take(&at(1), none, Instant::now()).is_ok()));
    }
}
