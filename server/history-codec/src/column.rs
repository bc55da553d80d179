//! One series in one window: its clock, the rounds in which it has samples, and its values. It can be read by itself,
//! given the shared part of the window. `floats` and `integers` choose between encodings.

use super::bytes::{Reader, write_varint};
use super::clocks::{Clock, read_presence, write_presence};
use super::shared::{seal, unseal};
use super::{Damaged, Shared, UnpackedSample, floats};

/// The clock number of a column that stores its own clock.
const SEPARATE_CLOCK: u64 = 0;

/// The source of a series' times.
pub(crate) enum Follows<'c> {
    /// The shared clock of this index.
    Shared(usize, &'c Clock),
    /// A clock that this column stores itself.
    Separate(Clock),
}

/// Writes the samples of one series, in the order of their rounds.
pub(crate) fn write(
    samples: &[UnpackedSample],
    follows: &Follows<'_>,
    round_times: &[u64],
    shared_check: u32,
) -> Vec<u8> {
    let mut body = Vec::new();
    match follows {
        Follows::Shared(index, clock) => {
            write_varint(&mut body, *index as u64 + 1);
            let mut rest = samples.iter().peekable();
            let present: Vec<bool> = clock
                .ticks()
                .map(|(round, _)| rest.next_if(|sample| sample.round == round).is_some())
                .collect();
            write_presence(&mut body, &present);
        }
        Follows::Separate(clock) => {
            write_varint(&mut body, SEPARATE_CLOCK);
            clock.write(&mut body, round_times);
        }
    }
    floats::write(
        &mut body,
        &samples.iter().map(|sample| sample.value).collect::<Vec<_>>(),
    );
    seal(shared_check, &body).0
}

/// Reads back one series of a window: its samples in the order of the rounds.
pub fn unpack_column(shared: &Shared, bytes: &[u8]) -> Result<Vec<UnpackedSample>, Damaged> {
    let mut reader = Reader::new(bytes);
    unseal(&mut reader, shared.check())?;
    let clock = reader.varint()?;
    if clock == SEPARATE_CLOCK {
        let clock = Clock::read(&mut reader, shared.round_times())?;
        return join(reader, clock.ticks().collect());
    }
    let clock = shared.clock(usize::try_from(clock - 1).unwrap_or(usize::MAX))?;
    let ticks: Vec<(usize, u64)> = clock.ticks().collect();
    let present = read_presence(&mut reader, ticks.len())?;
    join(
        reader,
        ticks
            .into_iter()
            .zip(present)
            .filter_map(|(tick, present)| present.then_some(tick))
            .collect(),
    )
}

/// Reads the values, which follow the times in a column.
fn join(mut reader: Reader<'_>, ticks: Vec<(usize, u64)>) -> Result<Vec<UnpackedSample>, Damaged> {
    let values = floats::read(&mut reader, ticks.len())?;
    reader.end()?;
    Ok(ticks
        .into_iter()
        .zip(values)
        .map(|((round, time_ms), value)| UnpackedSample { round, time_ms, value })
        .collect())
}
