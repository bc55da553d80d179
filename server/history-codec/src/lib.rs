//! Compression of a window of measurements: rounds of samples go in, one column of bytes per series comes out, and each
//! column can be read by itself, bit by bit the same. Pure: it accesses no store and no file, and knows no metrics.

mod bits;
mod bytes;
mod clocks;
mod column;
mod floats;
mod integers;
mod ratios;
mod rice;
mod shared;
#[cfg(test)]
mod tests;
mod xor;

use std::cmp::Reverse;
use std::collections::HashMap;

use clocks::{Clock, MAX_CLOCKS};
use column::Follows;

pub use column::unpack_column;
pub use shared::Shared;

/// The maximum number of rounds in a window: an hour of one per second is 3,600. It also limits a reader of damaged
/// bytes.
pub const MAX_ROUNDS: usize = 10_000;

/// All samples of one round.
#[derive(Clone, Copy, Debug)]
pub struct Round<'r> {
    /// The time, in milliseconds since 1970.
    pub time_ms: u64,
    /// The samples in any order. If a series has several, the last one counts.
    pub samples: &'r [Point],
}

/// One sample of one series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The series, by its number in the store.
    pub series: i64,
    /// The time of the sample, in milliseconds since 1970; usually a little before its round.
    pub time_ms: u64,
    /// The measured value.
    pub value: f64,
}

/// A window of rounds, packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// The data that all columns share, for `Shared::unpack`.
    pub shared: Vec<u8>,
    /// One column per series, for `unpack_column`, ordered by series.
    pub columns: Vec<(i64, Vec<u8>)>,
}

/// One sample that was read back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UnpackedSample {
    /// The index of the sample's round in the window.
    pub round: usize,
    /// The time of the sample, in milliseconds since 1970.
    pub time_ms: u64,
    /// The measured value.
    pub value: f64,
}

/// The window has too many rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a window of {rounds} rounds is too large to compress; the maximum is {MAX_ROUNDS}")]
pub struct TooLarge {
    /// The number of rounds.
    pub rounds: usize,
}

/// The bytes are not as they were written, or belong to another window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("compressed measurements are damaged: {reason}")]
pub struct Damaged {
    reason: &'static str,
}

impl Damaged {
    const SHORT: Self = Self::because("the bytes end too early");

    const fn because(reason: &'static str) -> Self {
        Self { reason }
    }
}

/// Compresses a window of rounds, in this order.
pub fn pack(rounds: &[Round<'_>]) -> Result<Packed, TooLarge> {
    if rounds.len() > MAX_ROUNDS {
        return Err(TooLarge { rounds: rounds.len() });
    }
    let round_times: Vec<u64> = rounds.iter().map(|round| round.time_ms).collect();
    let series = by_series(rounds);
    let (clocks, followed) = share_clocks(&series, rounds.len());
    let (shared, check) = shared::write(&round_times, &clocks);
    let mut columns: Vec<(i64, Vec<u8>)> = series
        .iter()
        .zip(followed)
        .map(|((number, samples), clock)| {
            let follows = clock.map_or_else(
                || Follows::Separate(Clock::of(ticks(samples), rounds.len())),
                |clock| Follows::Shared(clock, &clocks[clock]),
            );
            (*number, column::write(samples, &follows, &round_times, check))
        })
        .collect();
    columns.sort_unstable_by_key(|(number, _)| *number);
    Ok(Packed { shared, columns })
}

/// The samples of each series in the order of the rounds. Series with the most samples come first, so that they define
/// the clocks and series with missing samples can join them; otherwise by number, so that the same window gives the
/// same bytes.
fn by_series(rounds: &[Round<'_>]) -> Vec<(i64, Vec<UnpackedSample>)> {
    let mut series: HashMap<i64, Vec<UnpackedSample>> = HashMap::new();
    for (round, Round { samples, .. }) in rounds.iter().enumerate() {
        for &Point {
            series: number,
            time_ms,
            value,
        } in *samples
        {
            let samples_of_series = series.entry(number).or_default();
            samples_of_series.pop_if(|last| last.round == round);
            samples_of_series.push(UnpackedSample { round, time_ms, value });
        }
    }
    let mut series: Vec<(i64, Vec<UnpackedSample>)> = series.into_iter().collect();
    series.sort_unstable_by_key(|(number, samples)| (Reverse(samples.len()), *number));
    series
}

/// The clocks of a window, and for each series the index of its clock; `None` if it stores its own.
fn share_clocks(series: &[(i64, Vec<UnpackedSample>)], rounds: usize) -> (Vec<Clock>, Vec<Option<usize>>) {
    let mut clocks: Vec<Clock> = Vec::new();
    let followed = series
        .iter()
        .map(|(_, samples)| {
            let found = clocks.iter_mut().position(|clock| clock.join(ticks(samples)));
            if found.is_none() && clocks.len() < MAX_CLOCKS {
                clocks.push(Clock::of(ticks(samples), rounds));
                return Some(clocks.len() - 1);
            }
            found
        })
        .collect();
    (clocks, followed)
}

fn ticks(samples: &[UnpackedSample]) -> impl Iterator<Item = (usize, u64)> + Clone {
    samples.iter().map(|sample| (sample.round, sample.time_ms))
}
