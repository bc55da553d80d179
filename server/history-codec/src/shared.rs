//! The data that all columns of a window share: the times of its rounds and the clocks. Values are in the columns.

use super::bytes::{Reader, check, write_varint};
use super::clocks::{Clock, MAX_CLOCKS};
use super::{Damaged, MAX_ROUNDS, integers};

/// The first byte; another format gets another number.
const VERSION: u8 = 1;

/// The decoded shared data, which is needed to read the columns of a window.
#[derive(Clone, Debug)]
pub struct Shared {
    check: u32,
    round_times: Vec<u64>,
    clocks: Vec<Clock>,
}

impl Shared {
    /// Reads the shared data of a window.
    pub fn unpack(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(bytes);
        if reader.byte()? != VERSION {
            return Err(Damaged::because("the window has an unknown version"));
        }
        let check = unseal(&mut reader, VERSION.into())?;
        let rounds = reader.count(MAX_ROUNDS)?;
        let round_times: Vec<u64> = integers::read(&mut reader, rounds)?
            .into_iter()
            .map(i64::cast_unsigned)
            .collect();
        let clocks = reader.count(MAX_CLOCKS)?;
        let clocks = (0..clocks)
            .map(|_| Clock::read(&mut reader, &round_times))
            .collect::<Result<_, _>>()?;
        reader.end()?;
        Ok(Self {
            check,
            round_times,
            clocks,
        })
    }

    /// The times of the rounds, in milliseconds since 1970, in the order they were packed in.
    pub fn round_times(&self) -> &[u64] {
        &self.round_times
    }

    /// The checksum of the shared data, which seeds the checksums of the columns.
    pub(crate) fn check(&self) -> u32 {
        self.check
    }

    /// The clock with this index.
    pub(crate) fn clock(&self, index: usize) -> Result<&Clock, Damaged> {
        self.clocks
            .get(index)
            .ok_or(Damaged::because("a column names a clock that its window does not have"))
    }
}

/// Writes the shared data of a window; also returns its checksum.
pub(crate) fn write(round_times: &[u64], clocks: &[Clock]) -> (Vec<u8>, u32) {
    let mut body = Vec::new();
    write_varint(&mut body, round_times.len() as u64);
    integers::write(
        &mut body,
        &round_times.iter().map(|time| time.cast_signed()).collect::<Vec<_>>(),
    );
    write_varint(&mut body, clocks.len() as u64);
    for clock in clocks {
        clock.write(&mut body, round_times);
    }
    let (sealed, check) = seal(VERSION.into(), &body);
    ([vec![VERSION], sealed].concat(), check)
}

/// Prepends a checksum, seeded with `seed`, to a body; also returns the checksum.
pub(crate) fn seal(seed: u32, body: &[u8]) -> (Vec<u8>, u32) {
    let check = check(seed, body);
    ([&check.to_le_bytes(), body].concat(), check)
}

/// Verifies and skips the checksum of all bytes that follow.
pub(crate) fn unseal(reader: &mut Reader<'_>, seed: u32) -> Result<u32, Damaged> {
    let written = reader.take(4)?;
    let found = check(seed, reader.rest());
    // A fuzzer would find no bytes with a valid checksum, and a writer of the database computes one at once.
    if cfg!(fuzzing) || written == found.to_le_bytes() {
        Ok(found)
    } else {
        Err(Damaged::because("the checksum does not match"))
    }
}
