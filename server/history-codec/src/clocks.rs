//! Clocks: the time at which each round saw a source. All series of a source have the same times, so a clock is stored
//! once, and a series only stores which clock it follows and in which rounds it has a sample. `floats` stores the
//! values.

use super::bytes::Reader;
use super::{Damaged, integers};

/// The maximum number of clocks in a window, so that a reader's memory stays in proportion to the rounds. A host has a
/// handful of sources; a series that matches none of these clocks stores its own.
pub(crate) const MAX_CLOCKS: usize = 64;

/// Encodings of presence: in all rounds, or as a list of zeros and ones.
const ALL: u8 = 0;
const PER_SAMPLE: u8 = 1;
/// Encodings of times: as the distance to the round, or as absolute times for a source that is polled rarely.
const BEFORE_ROUND: u8 = 0;
const SINGLE: u8 = 1;

/// The time of the samples in each round, if there are any.
#[derive(Clone, Debug)]
pub(crate) struct Clock(Vec<Option<u64>>);

impl Clock {
    /// The clock of a single series, from its rounds and times.
    pub(crate) fn of(ticks: impl Iterator<Item = (usize, u64)>, rounds: usize) -> Self {
        let mut clock = Self(vec![None; rounds]);
        for (round, time_ms) in ticks {
            clock.0[round] = Some(time_ms);
        }
        clock
    }

    /// The rounds that have a sample, with its time.
    pub(crate) fn ticks(&self) -> impl Iterator<Item = (usize, u64)> {
        self.0
            .iter()
            .enumerate()
            .filter_map(|(round, time_ms)| Some((round, (*time_ms)?)))
    }

    /// Adds a series if its times match the clock in all rounds that both have; returns whether they do.
    pub(crate) fn join(&mut self, ticks: impl Iterator<Item = (usize, u64)> + Clone) -> bool {
        let agrees = |(round, time_ms): (usize, u64)| self.0[round].is_none_or(|known| known == time_ms);
        if !ticks.clone().all(agrees) {
            return false;
        }
        for (round, time_ms) in ticks {
            self.0[round] = Some(time_ms);
        }
        true
    }

    /// Writes the clock; the reader must know the times of the rounds.
    pub(crate) fn write(&self, out: &mut Vec<u8>, round_times: &[u64]) {
        write_presence(out, &self.0.iter().map(Option::is_some).collect::<Vec<_>>());
        let before: Vec<i64> = self
            .ticks()
            .map(|(round, time_ms)| round_times[round].wrapping_sub(time_ms).cast_signed())
            .collect();
        let absolute: Vec<i64> = self.ticks().map(|(_, time_ms)| time_ms.cast_signed()).collect();
        let encodings = [(BEFORE_ROUND, before), (SINGLE, absolute)].map(|(encoding, times)| {
            let mut written = vec![encoding];
            integers::write(&mut written, &times);
            written
        });
        out.extend(encodings.into_iter().min_by_key(Vec::len).unwrap_or_default());
    }

    /// Reads a clock.
    pub(crate) fn read(reader: &mut Reader<'_>, round_times: &[u64]) -> Result<Self, Damaged> {
        let mut ticks: Vec<Option<u64>> = read_presence(reader, round_times.len())?
            .into_iter()
            .map(|present| present.then_some(0))
            .collect();
        let before_round = match reader.byte()? {
            BEFORE_ROUND => true,
            SINGLE => false,
            _ => return Err(Damaged::because("a clock has an unknown encoding of times")),
        };
        let times = integers::read(reader, ticks.iter().flatten().count())?;
        let present = ticks
            .iter_mut()
            .zip(round_times)
            .filter_map(|(tick, round)| Some((tick.as_mut()?, round)));
        for ((tick, round), time) in present.zip(times) {
            let time = time.cast_unsigned();
            *tick = if before_round { round.wrapping_sub(time) } else { time };
        }
        Ok(Self(ticks))
    }
}

/// Writes in which rounds samples are present.
pub(crate) fn write_presence(out: &mut Vec<u8>, present: &[bool]) {
    if present.iter().all(|present| *present) {
        return out.push(ALL);
    }
    out.push(PER_SAMPLE);
    integers::write(
        out,
        &present.iter().map(|present| i64::from(*present)).collect::<Vec<_>>(),
    );
}

/// Reads in which of `count` rounds samples are present.
pub(crate) fn read_presence(reader: &mut Reader<'_>, count: usize) -> Result<Vec<bool>, Damaged> {
    match reader.byte()? {
        ALL => Ok(vec![true; count]),
        PER_SAMPLE => integers::read(reader, count)?.into_iter().map(presence).collect(),
        _ => Err(Damaged::because("unknown encoding of presence")),
    }
}

fn presence(number: i64) -> Result<bool, Damaged> {
    match number {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Damaged::because("the presence of a round is neither 0 nor 1")),
    }
}
