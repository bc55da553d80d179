//! Clocks: at what time each round saw a source. All series of a source have the same times, so a clock is kept once
//! and a series only says which clock is its own and which rounds of it have a sample. Not values, which are in
//! `floats`.

use super::bytes::Reader;
use super::{Damaged, integers};

/// A window shares at most this many clocks, so that what a reader must hold stays in proportion to its rounds. A host
/// has a handful of sources; a series that agrees with none of these clocks carries its own.
pub(super) const MAX_CLOCKS: usize = 64;

/// How presence is written: in all rounds, or as a list of zeros and ones.
const ALL: u8 = 0;
const PER_SAMPLE: u8 = 1;
/// How times are written: as their distance before the round, or by themselves for a source that rarely looks.
const BEFORE_ROUND: u8 = 0;
const SINGLE: u8 = 1;

/// For every round the time of its samples, if there are any.
#[derive(Clone, Debug)]
pub(super) struct Clock(Vec<Option<u64>>);

impl Clock {
    /// The clock of one series alone, given its rounds and times.
    pub(super) fn of(ticks: impl Iterator<Item = (usize, u64)>, rounds: usize) -> Self {
        let mut clock = Self(vec![None; rounds]);
        for (round, time_ms) in ticks {
            clock.0[round] = Some(time_ms);
        }
        clock
    }

    /// The rounds that have a sample, with its time.
    pub(super) fn ticks(&self) -> impl Iterator<Item = (usize, u64)> {
        self.0
            .iter()
            .enumerate()
            .filter_map(|(round, time_ms)| Some((round, (*time_ms)?)))
    }

    /// Takes up a series whose times agree with the clock in all rounds that both know; says whether it did.
    pub(super) fn join(&mut self, ticks: impl Iterator<Item = (usize, u64)> + Clone) -> bool {
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
    pub(super) fn write(&self, out: &mut Vec<u8>, round_times: &[u64]) {
        write_presence(out, &self.0.iter().map(Option::is_some).collect::<Vec<_>>());
        let before: Vec<i64> = self
            .ticks()
            .map(|(round, time_ms)| round_times[round].wrapping_sub(time_ms).cast_signed())
            .collect();
        let alone: Vec<i64> = self.ticks().map(|(_, time_ms)| time_ms.cast_signed()).collect();
        let ways = [(BEFORE_ROUND, before), (SINGLE, alone)].map(|(way, times)| {
            let mut written = vec![way];
            integers::write(&mut written, &times);
            written
        });
        out.extend(ways.into_iter().min_by_key(Vec::len).unwrap_or_default());
    }

    /// Reads a clock.
    pub(super) fn read(reader: &mut Reader<'_>, round_times: &[u64]) -> Result<Self, Damaged> {
        let mut ticks: Vec<Option<u64>> = read_presence(reader, round_times.len())?
            .into_iter()
            .map(|present| present.then_some(0))
            .collect();
        let before_round = match reader.byte()? {
            BEFORE_ROUND => true,
            SINGLE => false,
            _ => return Err(Damaged::because("a clock has an unknown way of writing times")),
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

/// Writes which of some rounds are there.
pub(super) fn write_presence(out: &mut Vec<u8>, present: &[bool]) {
    if present.iter().all(|present| *present) {
        return out.push(ALL);
    }
    out.push(PER_SAMPLE);
    integers::write(
        out,
        &present.iter().map(|present| i64::from(*present)).collect::<Vec<_>>(),
    );
}

/// Reads which of as many rounds as told are there.
pub(super) fn read_presence(reader: &mut Reader<'_>, count: usize) -> Result<Vec<bool>, Damaged> {
    match reader.byte()? {
        ALL => Ok(vec![true; count]),
        PER_SAMPLE => integers::read(reader, count)?.into_iter().map(presence).collect(),
        _ => Err(Damaged::because("presence has an unknown way of writing")),
    }
}

fn presence(number: i64) -> Result<bool, Damaged> {
    match number {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Damaged::because("a round is neither there nor not there")),
    }
}
