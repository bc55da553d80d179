//! A list of integers whose length the reader knows, in the smallest of several encodings. Everything in a window
//! except raw floats is such a list: times, presence, decimals, palette indexes. This module does not know what they
//! mean.

use super::Damaged;
use super::bits::{BitReader, BitWriter};
use super::bytes::{Reader, unzigzag, write_signed, write_varint, zigzag};
use super::rice;

/// The number of integers in a block of one width.
const BLOCK: usize = 32;
/// Set in the first byte if all differences are multiples of a scale, which then follows.
const SCALED: u8 = 0x80;

/// A prediction of each number; what is stored is the residual, the difference from the prediction.
#[derive(Clone, Copy)]
enum Forecast {
    /// A constant.
    Level,
    /// The previous number plus a constant step.
    Slope,
    /// The previous number plus the previous step.
    Trend,
}

/// The encoding of the residuals.
#[derive(Clone, Copy)]
enum Packing {
    /// Nothing is stored, because all residuals are zero.
    Nothing,
    /// In the adaptive code of `rice`.
    Rice,
    /// In blocks with one width each.
    Blocks,
}

/// Writes a list of numbers in the smallest encoding.
pub(crate) fn write(out: &mut Vec<u8>, numbers: &[i64]) {
    let Some(&first) = numbers.first() else { return };
    let (reduced, scale) = reduce(numbers, first);
    let written = [Forecast::Level, Forecast::Slope, Forecast::Trend].map(|forecast| {
        let (constant, residuals) = residuals(&reduced, forecast);
        let (packing, packed) = pack(&residuals);
        let mut bytes = vec![forecast as u8 | (packing as u8) << 2];
        if scale > 1 {
            bytes[0] |= SCALED;
            write_varint(&mut bytes, scale);
        }
        write_signed(&mut bytes, first);
        write_signed(&mut bytes, constant);
        bytes.extend(packed);
        bytes
    });
    out.extend(written.into_iter().min_by_key(Vec::len).unwrap_or_default());
}

/// Reads a list of `count` numbers.
pub(crate) fn read(reader: &mut Reader<'_>, count: usize) -> Result<Vec<i64>, Damaged> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let encoding = reader.byte()?;
    let forecast = match encoding & 0b11 {
        0 => Forecast::Level,
        1 => Forecast::Slope,
        2 => Forecast::Trend,
        _ => return Err(Damaged::because("a list of numbers has an unknown forecast")),
    };
    let scale = if encoding & SCALED == 0 {
        1
    } else {
        reader.varint()?.cast_signed()
    };
    let first = reader.signed()?;
    let constant = reader.signed()?;
    let residuals = match encoding & !SCALED & !0b11 {
        0b0000 => vec![0; count - 1],
        0b0100 => read_rice(reader, count - 1)?,
        0b1000 => read_blocks(reader, count - 1)?,
        _ => return Err(Damaged::because("a list of numbers has an unknown packing")),
    };
    let expanded = |number: i64| first.wrapping_add(number.wrapping_mul(scale));
    Ok(std::iter::once(first)
        .chain(restore(residuals, forecast, constant).map(expanded))
        .collect())
}

/// The differences to the first number, divided by their greatest common divisor: memory has page granularity, ticks
/// are hundredths.
fn reduce(numbers: &[i64], first: i64) -> (Vec<i64>, u64) {
    let scale = numbers
        .iter()
        .try_fold(0, |scale, number| {
            match common_divisor(scale, number.checked_sub(first)?.unsigned_abs()) {
                1 => None,
                divisor => Some(divisor),
            }
        })
        .and_then(|scale| i64::try_from(scale).ok())
        .map_or(1, |scale| scale.max(1));
    // With a scale of one a difference may wrap; reading wraps it back.
    let reduced = numbers
        .iter()
        .map(|number| number.wrapping_sub(first) / scale)
        .collect();
    (reduced, scale.unsigned_abs())
}

fn common_divisor(mut left: u64, mut right: u64) -> u64 {
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left
}

/// The prediction's constant, and the residuals of all numbers but the first, whose residual is zero.
fn residuals(reduced: &[i64], forecast: Forecast) -> (i64, Vec<u64>) {
    let steps = || reduced.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]));
    match forecast {
        Forecast::Level => about_median(reduced[1..].to_vec()),
        Forecast::Slope => about_median(steps().collect()),
        Forecast::Trend => {
            let constant = steps().next().unwrap_or_default();
            let before = std::iter::once(constant).chain(steps());
            (
                constant,
                steps()
                    .zip(before)
                    .map(|(step, before)| zigzag(step.wrapping_sub(before)))
                    .collect(),
            )
        }
    }
}

/// The median minimizes the residuals, and it is one of the numbers, so most residuals of a steady list are zero.
fn about_median(numbers: Vec<i64>) -> (i64, Vec<u64>) {
    let mut sorted = numbers.clone();
    let middle = sorted.len() / 2;
    let median = if sorted.is_empty() {
        0
    } else {
        *sorted.select_nth_unstable(middle).1
    };
    (
        median,
        numbers
            .into_iter()
            .map(|number| zigzag(number.wrapping_sub(median)))
            .collect(),
    )
}

/// Undoes `residuals`.
fn restore(residuals: Vec<u64>, forecast: Forecast, constant: i64) -> impl Iterator<Item = i64> {
    let (mut number, mut step) = (0_i64, constant);
    residuals.into_iter().map(move |residual| {
        let residual = unzigzag(residual);
        match forecast {
            Forecast::Level => constant.wrapping_add(residual),
            Forecast::Slope => {
                number = number.wrapping_add(constant).wrapping_add(residual);
                number
            }
            Forecast::Trend => {
                step = step.wrapping_add(residual);
                number = number.wrapping_add(step);
                number
            }
        }
    })
}

fn pack(residuals: &[u64]) -> (Packing, Vec<u8>) {
    if residuals.iter().all(|residual| *residual == 0) {
        return (Packing::Nothing, Vec::new());
    }
    let (rice, blocks) = (write_rice(residuals), write_blocks(residuals));
    if rice.len() <= blocks.len() {
        (Packing::Rice, rice)
    } else {
        (Packing::Blocks, blocks)
    }
}

fn write_rice(residuals: &[u64]) -> Vec<u8> {
    let mean = residuals.iter().map(|residual| u128::from(*residual)).sum::<u128>() / residuals.len().max(1) as u128;
    let guess = mean.checked_ilog2().unwrap_or_default().min(63);
    let mut bits = BitWriter::default();
    bits.write(guess.into(), 6);
    rice::write(&mut bits, residuals, guess);
    bits.finish()
}

fn read_rice(reader: &mut Reader<'_>, count: usize) -> Result<Vec<u64>, Damaged> {
    let mut bits = BitReader::new(reader);
    let guess = bits.read(6)? as u32;
    let residuals = rice::read(&mut bits, count, guess)?;
    bits.finish(reader)?;
    Ok(residuals)
}

fn write_blocks(residuals: &[u64]) -> Vec<u8> {
    let mut bits = BitWriter::default();
    for block in residuals.chunks(BLOCK) {
        let width = u64::BITS - block.iter().fold(0, |all, residual| all | residual).leading_zeros();
        bits.write(width.into(), 7);
        for &residual in block {
            bits.write(residual, width);
        }
    }
    bits.finish()
}

fn read_blocks(reader: &mut Reader<'_>, count: usize) -> Result<Vec<u64>, Damaged> {
    let mut bits = BitReader::new(reader);
    let mut residuals = Vec::with_capacity(count);
    while residuals.len() < count {
        let width = bits.read(7)? as u32;
        if width > u64::BITS {
            return Err(Damaged::because("a block of numbers is wider than 64 bits"));
        }
        for _ in 0..BLOCK.min(count - residuals.len()) {
            residuals.push(bits.read(width)?);
        }
    }
    bits.finish(reader)?;
    Ok(residuals)
}
