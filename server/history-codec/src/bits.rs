//! Numbers of any width, written bit by bit and read back, the highest bit first. It defines no format and does not
//! know what the numbers mean.

use super::Damaged;
use super::bytes::Reader;

/// The number of bits that reading eight bytes always provides, wherever in the first byte the position is.
const LOOKAHEAD_BITS: u32 = 57;

/// A writer of bits into bytes.
#[derive(Default)]
pub(crate) struct BitWriter {
    bytes: Vec<u8>,
    /// The bits that do not fill a byte yet, in the lowest positions; the bits above them are written already.
    held: u64,
    held_bits: u32,
}

impl BitWriter {
    /// Writes the lowest `width` bits of a number, at most 64.
    pub(crate) fn write(&mut self, number: u64, width: u32) {
        if width > 32 {
            self.write(number >> 32, width - 32);
            return self.write(number, 32);
        }
        self.held = (self.held << width) | (number & ((1 << width) - 1));
        self.held_bits += width;
        while self.held_bits >= 8 {
            self.held_bits -= 8;
            self.bytes.push((self.held >> self.held_bits) as u8);
        }
    }

    /// Writes this number of ones, at most 32.
    pub(crate) fn write_ones(&mut self, count: u32) {
        self.write(u64::MAX, count);
    }

    /// The bytes, the last one padded with zeros.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let gap = self.held_bits.wrapping_neg() % 8;
        self.write(0, gap);
        self.bytes
    }
}

/// A reader of bits from bytes that may be damaged.
pub(crate) struct BitReader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> BitReader<'b> {
    /// A reader that starts at the reader's next byte.
    pub(crate) fn new(reader: &Reader<'b>) -> Self {
        Self {
            bytes: reader.rest(),
            at: 0,
        }
    }

    /// Reads a number of `width` bits, at most 64.
    pub(crate) fn read(&mut self, width: u32) -> Result<u64, Damaged> {
        if width > LOOKAHEAD_BITS {
            return Ok((self.read(width - 32)? << 32) | self.read(32)?);
        }
        let next = self.peek();
        self.advance(width)?;
        // Two shifts, because a shift by 64 bits (for a width of zero) would overflow.
        Ok((next >> 1) >> (u64::BITS - 1 - width))
    }

    /// Counts ones up to `max` (at most 32) and skips them, and the zero that ends fewer than `max`.
    pub(crate) fn read_ones(&mut self, max: u32) -> Result<u32, Damaged> {
        let ones = self.peek().leading_ones().min(max);
        self.advance(if ones < max { ones + 1 } else { ones })?;
        Ok(ones)
    }

    /// Advances the original reader past all bits that were read, to the next whole byte.
    pub(crate) fn finish(self, reader: &mut Reader<'b>) -> Result<(), Damaged> {
        reader.take(self.at.div_ceil(8)).map(|_| ())
    }

    /// The next bits, highest first, padded with zeros at the end.
    fn peek(&self) -> u64 {
        let rest = self.bytes.get(self.at / 8..).unwrap_or_default();
        let word = rest.first_chunk().map_or_else(
            || {
                let mut padded = [0; 8];
                padded[..rest.len()].copy_from_slice(rest);
                u64::from_be_bytes(padded)
            },
            |word| u64::from_be_bytes(*word),
        );
        word << (self.at % 8)
    }

    fn advance(&mut self, width: u32) -> Result<(), Damaged> {
        self.at += width as usize;
        if self.at <= self.bytes.len() * 8 {
            Ok(())
        } else {
            Err(Damaged::SHORT)
        }
    }
}
