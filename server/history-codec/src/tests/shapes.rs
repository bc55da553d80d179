//! Series of typical and unusual shapes, from a generator that always gives the same numbers. This file contains no
//! tests.

use crate::Point;

/// The start of the windows of the tests, in milliseconds since 1970.
pub(super) const START_MS: u64 = 1_795_000_000_000;

/// The number of rounds in a typical window: an hour, every ten seconds.
pub(super) const ROUNDS: usize = 360;

/// Marsaglia's xorshift: of low quality, but the same everywhere.
pub(super) struct Random(u64);

impl Random {
    /// Starts a sequence. The state must not be zero, because zero stays zero.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A random number.
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A random number below `limit`.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 11) % limit
    }
}

/// All shapes, by name.
pub(super) fn all() -> Vec<(&'static str, Vec<Option<f64>>)> {
    vec![
        ("constant", every(|_| 42.5)),
        ("negative zero", every(|_| -0.0)),
        (
            "zeros of both signs",
            every(|round| if round % 3 == 0 { -0.0 } else { 0.0 }),
        ),
        ("steady counter", steady_counter()),
        ("counter that starts over", every(|round| (round % 100 * 7) as f64)),
        ("idle counter", idle_counter()),
        ("percent of ticks", percent()),
        ("small percent of ticks", small_percent()),
        ("floats of no pattern", random_floats()),
        ("gauge with two decimals", gauge()),
        (
            "negative gauge",
            gauge().into_iter().map(|value| Some(-value?)).collect(),
        ),
        ("pages", pages()),
        (
            "huge",
            every(|round| [f64::MAX, f64::MIN, 9.007_199_254_740_993e15, 1e300][round % 4]),
        ),
        (
            "tiny",
            every(|round| [f64::MIN_POSITIVE, 5e-324, -5e-324, 1e-310, 0.0][round % 5]),
        ),
        (
            "around the largest whole numbers",
            every(|round| [9.223_372_036_854_776e18, -9.3e18, 1.0][round % 3]),
        ),
        (
            "alternating signs",
            every(|round| if round % 2 == 0 { 0.1 } else { -0.1 }),
        ),
        ("halves of halves", every(|round| 1.0 / (1_u64 << (round % 60)) as f64)),
        (
            "late",
            gauge()
                .into_iter()
                .enumerate()
                .map(|(round, value)| value.filter(|_| round >= 200))
                .collect(),
        ),
        (
            "early end",
            gauge()
                .into_iter()
                .enumerate()
                .map(|(round, value)| value.filter(|_| round < 200))
                .collect(),
        ),
        ("sparse", sparse()),
        ("once", (0..ROUNDS).map(|round| (round == 77).then_some(3.25)).collect()),
        ("single round", vec![Some(-12.75)]),
        ("two rounds", vec![Some(1.0), Some(f64::MAX)]),
        ("one round and none", vec![Some(1.0), None]),
        ("none", vec![None; 5]),
    ]
}

/// A counter that increases by about a thousand per round.
pub(super) fn steady_counter() -> Vec<Option<f64>> {
    let mut random = Random::new(1);
    let mut count = 5_000_000;
    every(|_| {
        count += 1_000 + random.below(9) - 4;
        count as f64
    })
}

/// A counter that rarely increases.
pub(super) fn idle_counter() -> Vec<Option<f64>> {
    let mut random = Random::new(2);
    let mut count = 17;
    every(|_| {
        count += u64::from(random.below(40) == 0);
        count as f64
    })
}

/// Busy ticks of about a thousand, in percent.
pub(super) fn percent() -> Vec<Option<f64>> {
    let mut random = Random::new(3);
    every(|_| random.below(300) as f64 / (998 + random.below(5)) as f64 * 100.0)
}

/// Busy ticks of about two hundred, in percent, rounded in another order.
fn small_percent() -> Vec<Option<f64>> {
    let mut random = Random::new(4);
    every(|_| 100.0 - 100.0 * random.below(20) as f64 / (199 + random.below(3)) as f64)
}

/// Random floats between 0 and 100.
pub(super) fn random_floats() -> Vec<Option<f64>> {
    let mut random = Random::new(5);
    every(|_| (random.next() >> 11) as f64 / (1_u64 << 53) as f64 * 100.0)
}

/// A load that changes by some hundredths.
pub(super) fn gauge() -> Vec<Option<f64>> {
    let mut random = Random::new(6);
    let mut hundredths = 500;
    every(|_| {
        hundredths += random.below(21);
        hundredths = hundredths.saturating_sub(10);
        hundredths as f64 / 100.0
    })
}

/// Memory in multiples of the page size.
pub(super) fn pages() -> Vec<Option<f64>> {
    let mut random = Random::new(7);
    every(|_| ((4_000_000 + random.below(2_000)) * 4_096) as f64)
}

fn sparse() -> Vec<Option<f64>> {
    let mut random = Random::new(8);
    (0..ROUNDS)
        .map(|round| (random.below(5) == 0).then_some(round as f64))
        .collect()
}

fn every(mut value: impl FnMut(usize) -> f64) -> Vec<Option<f64>> {
    (0..ROUNDS).map(|round| Some(value(round))).collect()
}

/// Rounds of some series, from two sources that are polled a little before the round.
pub(super) fn window(series: &[Vec<Option<f64>>]) -> Vec<(u64, Vec<Point>)> {
    let mut random = Random::new(10);
    let rounds = series.iter().map(Vec::len).max().unwrap_or_default();
    (0..rounds)
        .map(|round| {
            let time_ms = START_MS + round as u64 * 10_000 + random.below(3);
            let seen = [time_ms - random.below(4), time_ms - 20 - random.below(9)];
            let point = |(number, values): (usize, &Vec<Option<f64>>)| {
                let value = (*values.get(round)?)?;
                Some(Point {
                    series: number as i64,
                    time_ms: seen[number % 2],
                    value,
                })
            };
            (time_ms, series.iter().enumerate().filter_map(point).collect())
        })
        .collect()
}
