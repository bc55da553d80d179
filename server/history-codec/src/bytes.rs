//! Bytes: a bounds-checked reader, variable-length numbers and a checksum. `bits` reads bits, and callers define the
//! format.

use super::Damaged;

/// The unread rest of bytes that may be damaged.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    /// A reader that starts at the first byte.
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The unread bytes.
    pub(crate) fn rest(&self) -> &'b [u8] {
        self.rest
    }

    /// The next byte.
    pub(crate) fn byte(&mut self) -> Result<u8, Damaged> {
        let (&first, rest) = self.rest.split_first().ok_or(Damaged::SHORT)?;
        self.rest = rest;
        Ok(first)
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'b [u8], Damaged> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Damaged::SHORT)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next number, as `write_varint` wrote it.
    pub(crate) fn varint(&mut self) -> Result<u64, Damaged> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Damaged::because("a number has too many bytes"))
    }

    /// The next number, which is a count of at most `max`.
    pub(crate) fn count(&mut self, max: usize) -> Result<usize, Damaged> {
        usize::try_from(self.varint()?)
            .ok()
            .filter(|count| *count <= max)
            .ok_or(Damaged::because("a count is larger than it can be"))
    }

    /// The next number with a sign, as `write_signed` wrote it.
    pub(crate) fn signed(&mut self) -> Result<i64, Damaged> {
        self.varint().map(unzigzag)
    }

    /// An error if any byte is left.
    pub(crate) fn end(&self) -> Result<(), Damaged> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Damaged::because("there are bytes after the end"))
        }
    }
}

/// Writes a number in groups of seven bits, the lowest first.
pub(crate) fn write_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Writes a signed number; numbers close to zero are short.
pub(crate) fn write_signed(out: &mut Vec<u8>, number: i64) {
    write_varint(out, zigzag(number));
}

/// Folds the negative numbers between the positive ones: 0, -1, 1, -2 become 0, 1, 2, 3.
pub(crate) fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

/// Undoes `zigzag`.
pub(crate) fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// A checksum (FNV-1a) that starts from `seed`. Any single changed byte changes it, because each step is one-to-one.
pub(crate) fn check(seed: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(seed ^ 0x811c_9dc5, |hash, &byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}
