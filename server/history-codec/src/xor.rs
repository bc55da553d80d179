//! Floats by the XOR with the previous float, after Facebook's Gorilla: for values that are not decimals. `floats`
//! chooses between the encodings.

use super::Damaged;
use super::bits::{BitReader, BitWriter};
use super::bytes::Reader;

/// The cost of a new window: six bits for its position and six for its width.
const WINDOW_COST: u32 = 12;

/// The range of bits of a difference that is written; all other bits are zero.
#[derive(Clone, Copy)]
struct Window {
    leading: u32,
    width: u32,
}

impl Window {
    const ALL: Self = Self {
        leading: 0,
        width: u64::BITS,
    };

    /// The smallest window that contains all bits of a difference other than zero.
    fn around(difference: u64) -> Self {
        let leading = difference.leading_zeros();
        Self {
            leading,
            width: u64::BITS - leading - difference.trailing_zeros(),
        }
    }

    fn trailing(self) -> u32 {
        u64::BITS - self.leading - self.width
    }

    /// Whether reusing this window is cheaper than writing the smaller one that the difference needs.
    fn serves(self, tight: Self) -> bool {
        self.leading <= tight.leading && self.trailing() <= tight.trailing() && self.width <= tight.width + WINDOW_COST
    }
}

/// Writes the bits of floats: `0` repeats the value, `10` reuses the window, `11` defines a new one.
pub(crate) fn write(out: &mut Vec<u8>, values: &[i64]) {
    let mut bits = BitWriter::default();
    let mut window = Window::ALL;
    let mut before = 0;
    for &value in values {
        let difference = (value ^ before).cast_unsigned();
        before = value;
        if difference == 0 {
            bits.write(0, 1);
            continue;
        }
        let tight = Window::around(difference);
        if window.serves(tight) {
            bits.write(0b10, 2);
        } else {
            window = tight;
            bits.write(0b11, 2);
            bits.write(window.leading.into(), 6);
            bits.write(u64::from(window.width - 1), 6);
        }
        bits.write(difference >> window.trailing(), window.width);
    }
    out.extend(bits.finish());
}

/// Reads the bits of this number of floats.
pub(crate) fn read(reader: &mut Reader<'_>, count: usize) -> Result<Vec<i64>, Damaged> {
    let mut bits = BitReader::new(reader);
    let mut window = Window::ALL;
    let mut before = 0;
    let mut values = Vec::with_capacity(count);
    for _ in 0..count {
        let kind = bits.read_ones(2)?;
        if kind == 2 {
            window = Window {
                leading: bits.read(6)? as u32,
                width: bits.read(6)? as u32 + 1,
            };
            if window.leading + window.width > u64::BITS {
                return Err(Damaged::because("a float has more than 64 bits"));
            }
        }
        if kind > 0 {
            before ^= bits.read(window.width)? << window.trailing();
        }
        values.push(before.cast_signed());
    }
    bits.finish(reader)?;
    Ok(values)
}
