//! How a window of measurements is kept small: rounds of samples go in, one column of bytes a series comes out, and any
//! column can be read back by itself, bit by bit the same. Pure: not a store and not a file, and it knows no metrics.

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

/// The most rounds of a window: an hour of one a second is 3,600, and a reader of damaged bytes must stop somewhere.
pub const MAX_ROUNDS: usize = 10_000;

/// All that was measured at one time.
#[derive(Clone, Copy, Debug)]
pub struct Round<'r> {
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// The samples in any order, at most one a series; of more, the last one counts.
    pub samples: &'r [Point],
}

/// One sample of one series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The series, by its number in the store.
    pub series: i64,
    /// When the sample was taken, in milliseconds since 1970; usually a little before its round.
    pub time_ms: u64,
    /// What was measured.
    pub value: f64,
}

/// A window of rounds, packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// What all columns have in common, for `Shared::unpack`.
    pub shared: Vec<u8>,
    /// One column a series, for `unpack_column`, in the order of their numbers.
    pub columns: Vec<(i64, Vec<u8>)>,
}

/// One sample read back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kept {
    /// The index of the sample's round in the window.
    pub round: usize,
    /// When the sample was taken, in milliseconds since 1970.
    pub time_ms: u64,
    /// What was measured.
    pub value: f64,
}

/// The window has more rounds than a window may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a window of {rounds} rounds is too large to pack, the most is {MAX_ROUNDS}")]
pub struct TooLarge {
    /// How many rounds it has.
    pub rounds: usize,
}

/// Packed bytes are not as they were written, or not of the window they are read with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("packed measurements are damaged: {reason}")]
pub struct Damaged {
    reason: &'static str,
}

impl Damaged {
    const SHORT: Self = Self::because("the bytes end too early");

    const fn because(reason: &'static str) -> Self {
        Self { reason }
    }
}

/// Packs a window of rounds, in the order given.
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
                || Follows::ServiceMetrics(Clock::of(ticks(samples), rounds.len())),
                |clock| Follows::Shared(clock, &clocks[clock]),
            );
            (*number, column::write(samples, &follows, &round_times, check))
        })
        .collect();
    columns.sort_unstable_by_key(|(number, _)| *number);
    Ok(Packed { shared, columns })
}

/// The samples of each series in the order of the rounds. The series with the most come first, so that they make the
/// clocks and the others, of which pieces are missing, find them; else by number, so that the same window gives the
/// same bytes.
fn by_series(rounds: &[Round<'_>]) -> Vec<(i64, Vec<Kept>)> {
    let mut series: HashMap<i64, Vec<Kept>> = HashMap::new();
    for (round, Round { samples, .. }) in rounds.iter().enumerate() {
        for &Point {
            series: number,
            time_ms,
            value,
        } in *samples
        {
            let kept = series.entry(number).or_default();
            kept.pop_if(|last| last.round == round);
            kept.push(Kept { round, time_ms, value });
        }
    }
    let mut series: Vec<(i64, Vec<Kept>)> = series.into_iter().collect();
    series.sort_unstable_by_key(|(number, samples)| (Reverse(samples.len()), *number));
    series
}

/// The clocks of a window, and for each series the index of the one that it follows, unless it is to carry its own.
fn share_clocks(series: &[(i64, Vec<Kept>)], rounds: usize) -> (Vec<Clock>, Vec<Option<usize>>) {
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

fn ticks(samples: &[Kept]) -> impl Iterator<Item = (usize, u64)> + Clone {
    samples.iter().map(|sample| (sample.round, sample.time_ms))
}
