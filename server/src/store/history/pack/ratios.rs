//! Values that are one whole number divided by another, such as the busy ticks of all ticks in percent: the two
//! numbers are far smaller than the sixteen digits they lead to. The bits by which a quotient is off are written too,
//! so it does not matter in which order the source multiplied and divided. Not decimals, which `floats` finds by
//! itself.

use super::bytes::Reader;
use super::{Damaged, integers};

/// Beyond this, numerator and denominator together have as many bits as the float.
const MAX_DENOMINATOR: f64 = 67_108_864.0;
/// How far, in parts of the value, a quotient may be off: a few of the last bits, as after two or three roundings.
const TOLERANCE: f64 = 4.0 * f64::EPSILON;
/// A continued fraction gains more than a bit with each term, so these are enough for every float.
const MAX_TERMS: usize = 40;

/// What is done to a quotient to make it a value.
#[derive(Clone, Copy)]
pub(super) enum Form {
    /// Nothing.
    Plain,
    /// It is taken times a hundred.
    Percent,
}

impl Form {
    fn value(self, numerator: i64, denominator: i64) -> f64 {
        let (numerator, denominator) = (numerator as f64, denominator as f64);
        match self {
            Self::Plain => numerator / denominator,
            Self::Percent => numerator / denominator * 100.0,
        }
    }

    fn unit(self) -> f64 {
        match self {
            Self::Plain => 1.0,
            Self::Percent => 100.0,
        }
    }
}

/// Writes values as quotients; `None` if one of them is none.
pub(super) fn write(values: &[f64], form: Form) -> Option<Vec<u8>> {
    let reduced: Vec<(i64, i64)> = values
        .iter()
        .map(|value| fraction(value / form.unit()))
        .collect::<Option<_>>()?;
    // A source divides by about the same number each time, but a fraction is found in its lowest terms.
    let usual = reduced.iter().map(|(_, denominator)| *denominator).max()?;
    let (mut numerators, mut denominators, mut off) = (Vec::new(), Vec::new(), Vec::new());
    for ((numerator, denominator), value) in reduced.into_iter().zip(values) {
        let terms = (usual + denominator / 2) / denominator;
        let (above, below) = (numerator.checked_mul(terms)?, denominator * terms);
        numerators.push(above);
        denominators.push(below);
        off.push(
            value
                .to_bits()
                .wrapping_sub(form.value(above, below).to_bits())
                .cast_signed(),
        );
    }
    let mut out = Vec::new();
    for numbers in [numerators, denominators, off] {
        integers::write(&mut out, &numbers);
    }
    Some(out)
}

/// Reads the bits of as many values as told.
pub(super) fn read(reader: &mut Reader<'_>, count: usize, form: Form) -> Result<Vec<i64>, Damaged> {
    let numerators = integers::read(reader, count)?;
    let denominators = integers::read(reader, count)?;
    let off = integers::read(reader, count)?;
    let quotients = numerators
        .into_iter()
        .zip(denominators)
        .map(|(above, below)| form.value(above, below));
    Ok(quotients
        .zip(off)
        .map(|(quotient, off)| quotient.to_bits().cast_signed().wrapping_add(off))
        .collect())
}

/// The simplest fraction that a value is, up to the tolerance: the terms of its continued fraction until it is met.
fn fraction(value: f64) -> Option<(i64, i64)> {
    let size = value.abs();
    let mut rest = size;
    let (mut before, mut last) = ((0.0, 1.0), (1.0, 0.0));
    for _ in 0..MAX_TERMS {
        let term = rest.floor();
        let next: (f64, f64) = (term * last.0 + before.0, term * last.1 + before.1);
        // Said so that what is not a number ends here, too.
        if !(next.1 <= MAX_DENOMINATOR && next.0 <= MAX_DENOMINATOR * MAX_DENOMINATOR) {
            return None;
        }
        if (next.0 / next.1 - size).abs() <= size * TOLERANCE {
            return Some((next.0.copysign(value) as i64, next.1 as i64));
        }
        (before, last) = (last, next);
        rest = 1.0 / (rest - term);
    }
    None
}
