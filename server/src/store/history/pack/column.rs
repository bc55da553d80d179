//! One series in one window: which clock it follows, in which rounds it was there, and its values. Readable by itself,
//! given the shared part of the window. Not a choice between encodings, which is made in `floats` and `integers`.

use super::bytes::{Reader, write_varint};
use super::clocks::{Clock, read_presence, write_presence};
use super::shared::{seal, unseal};
use super::{Damaged, Kept, Shared, floats};

/// The clock number of a column that carries its own.
const OWN_VALUES: u64 = 0;

/// Where a series gets its times from.
pub(super) enum Follows<'c> {
    /// The shared clock of this index.
    Shared(usize, &'c Clock),
    /// None of them.
    ServiceMetrics(Clock),
}

/// Writes the samples of one series, in the order of their rounds.
pub(super) fn write(samples: &[Kept], follows: &Follows<'_>, round_times: &[u64], shared_check: u32) -> Vec<u8> {
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
        Follows::ServiceMetrics(clock) => {
            write_varint(&mut body, OWN_VALUES);
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
pub fn unpack_column(shared: &Shared, bytes: &[u8]) -> Result<Vec<Kept>, Damaged> {
    let mut reader = Reader::new(bytes);
    unseal(&mut reader, shared.check())?;
    let clock = reader.varint()?;
    if clock == OWN_VALUES {
        let service_metrics = Clock::read(&mut reader, shared.round_times())?;
        return join(reader, service_metrics.ticks().collect());
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

/// Reads the values, which are the last of a column, to their times.
fn join(mut reader: Reader<'_>, ticks: Vec<(usize, u64)>) -> Result<Vec<Kept>, Damaged> {
    let values = floats::read(&mut reader, ticks.len())?;
    reader.end()?;
    Ok(ticks
        .into_iter()
        .zip(values)
        .map(|((round, time_ms), value)| Kept { round, time_ms, value })
        .collect())
}
