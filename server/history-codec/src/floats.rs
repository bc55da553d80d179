//! The values of one column: a list of floats whose length the reader knows, in the smallest of several encodings, read
//! back bit by bit. `clocks` stores their times.

use super::bytes::{Reader, write_varint};
use super::ratios::{self, Form};
use super::{Damaged, integers, xor};

/// The maximum number of decimal places that are tried: no source measures more precisely.
const MAX_DECIMAL_PLACES: u8 = 12;

/// The encodings, and the byte that identifies each.
const CONSTANT: u8 = 0;
const BITS: u8 = 1;
const XOR: u8 = 2;
const PALETTE: u8 = 3;
/// Ratios; the form is added to this number.
const RATIOS: u8 = 4;
const FORMS: [Form; 2] = [Form::Plain, Form::Percent];
/// Decimals; the number of decimal places is added to this number.
const DECIMALS: u8 = 16;

/// Writes values in the smallest encoding.
pub(crate) fn write(out: &mut Vec<u8>, values: &[f64]) {
    let bits: Vec<i64> = values.iter().map(|value| value.to_bits().cast_signed()).collect();
    if bits.iter().all(|other| *other == bits[0]) {
        return write_constant(out, values.first().copied().unwrap_or_default());
    }
    let mut encodings = vec![
        named(BITS, |out| integers::write(out, &bits)),
        named(XOR, |out| xor::write(out, &bits)),
    ];
    encodings.extend(write_decimals(values));
    encodings.extend(write_palette(&bits));
    encodings.extend(FORMS.iter().zip(RATIOS..).filter_map(|(form, encoding)| {
        let ratios = ratios::write(values, *form)?;
        Some(named(encoding, |out| out.extend(ratios)))
    }));
    out.extend(encodings.into_iter().min_by_key(Vec::len).unwrap_or_default());
}

/// Reads this number of values.
pub(crate) fn read(reader: &mut Reader<'_>, count: usize) -> Result<Vec<f64>, Damaged> {
    let of_bits = |bits: Vec<i64>| {
        bits.into_iter()
            .map(|bits| f64::from_bits(bits.cast_unsigned()))
            .collect()
    };
    match reader.byte()? {
        CONSTANT => Ok(vec![f64::from_bits(reader.varint()?.reverse_bits()); count]),
        BITS => integers::read(reader, count).map(of_bits),
        XOR => xor::read(reader, count).map(of_bits),
        PALETTE => read_palette(reader, count).map(of_bits),
        encoding if (RATIOS..RATIOS + 2).contains(&encoding) => {
            ratios::read(reader, count, FORMS[usize::from(encoding - RATIOS)]).map(of_bits)
        }
        encoding if (DECIMALS..=DECIMALS + MAX_DECIMAL_PLACES).contains(&encoding) => {
            let power = power_of_ten(encoding - DECIMALS);
            Ok(integers::read(reader, count)?
                .into_iter()
                .map(|number| number as f64 / power)
                .collect())
        }
        _ => Err(Damaged::because("a column has an unknown encoding of values")),
    }
}

fn named(encoding: u8, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = vec![encoding];
    write(&mut out);
    out
}

/// The lowest bits of a typical float are zero, so its reversed bits are a small number.
fn write_constant(out: &mut Vec<u8>, value: f64) {
    out.push(CONSTANT);
    write_varint(out, value.to_bits().reverse_bits());
}

/// Values that are integers after scaling by a power of ten, such as seconds with two decimal places.
fn write_decimals(values: &[f64]) -> Option<Vec<u8>> {
    let mut places = 0;
    for &value in values {
        while in_places(value, places).is_none() {
            places += 1;
            if places > MAX_DECIMAL_PLACES {
                return None;
            }
        }
    }
    let numbers: Vec<i64> = values
        .iter()
        .map(|value| in_places(*value, places))
        .collect::<Option<_>>()?;
    Some(named(DECIMALS + places, |out| integers::write(out, &numbers)))
}

/// The value scaled to an integer, if dividing it gives back exactly the same bits.
fn in_places(value: f64, places: u8) -> Option<i64> {
    let power = power_of_ten(places);
    let number = (value * power).round() as i64;
    ((number as f64 / power).to_bits() == value.to_bits()).then_some(number)
}

/// Exact, because a float represents every power of ten up to the 22nd exactly.
fn power_of_ten(places: u8) -> f64 {
    10_u64.pow(places.into()) as f64
}

/// Values with many repetitions: a sorted list of the distinct values, then an index for each value.
fn write_palette(bits: &[i64]) -> Option<Vec<u8>> {
    let mut palette = bits.to_vec();
    palette.sort_unstable();
    palette.dedup();
    if palette.len() > bits.len() / 2 {
        return None;
    }
    let choices: Vec<i64> = bits
        .iter()
        .map(|bits| palette.partition_point(|other| other < bits) as i64)
        .collect();
    Some(named(PALETTE, |out| {
        write_varint(out, palette.len() as u64);
        integers::write(out, &palette);
        integers::write(out, &choices);
    }))
}

fn read_palette(reader: &mut Reader<'_>, count: usize) -> Result<Vec<i64>, Damaged> {
    let size = reader.count(count)?;
    let palette = integers::read(reader, size)?;
    let choices = integers::read(reader, count)?;
    let chosen = |choice: i64| {
        usize::try_from(choice)
            .ok()
            .and_then(|choice| palette.get(choice))
            .copied()
    };
    choices
        .into_iter()
        .map(|choice| {
            chosen(choice).ok_or(Damaged::because(
                "a column refers to a value that is not in its palette",
            ))
        })
        .collect()
}
