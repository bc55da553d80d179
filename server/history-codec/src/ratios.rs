//! Values that are one integer divided by another, such as busy ticks of all ticks in percent: the two integers are far
//! smaller than the sixteen digits of their quotient. The difference in the last bits is stored too, so the order in
//! which the source multiplied and divided does not matter. `floats` finds decimals.

use super::bytes::Reader;
use super::{Damaged, integers};

/// Beyond this, numerator and denominator together need as many bits as the float.
const MAX_DENOMINATOR: f64 = 67_108_864.0;
/// The relative error that a quotient may have: a few of the last bits, as after two or three roundings.
const TOLERANCE: f64 = 4.0 * f64::EPSILON;
/// A continued fraction gains more than one bit per term, so this number of terms is enough for every float.
const MAX_TERMS: usize = 40;

/// The operation that turns a quotient into a value.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    /// The value is the quotient.
    Plain,
    /// The value is the quotient times a hundred.
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

/// Writes values as ratios; `None` if one of them is not a ratio.
pub(crate) fn write(values: &[f64], form: Form) -> Option<Vec<u8>> {
    let reduced: Vec<(i64, i64)> = values
        .iter()
        .map(|value| fraction(value / form.unit()))
        .collect::<Option<_>>()?;
    // A source divides by about the same number each time, but the fraction found is in lowest terms.
    let common = reduced.iter().map(|(_, denominator)| *denominator).max()?;
    let (mut numerators, mut denominators, mut corrections) = (Vec::new(), Vec::new(), Vec::new());
    for ((numerator, denominator), value) in reduced.into_iter().zip(values) {
        let terms = (common + denominator / 2) / denominator;
        let (scaled_numerator, scaled_denominator) = (numerator.checked_mul(terms)?, denominator * terms);
        numerators.push(scaled_numerator);
        denominators.push(scaled_denominator);
        corrections.push(
            value
                .to_bits()
                .wrapping_sub(form.value(scaled_numerator, scaled_denominator).to_bits())
                .cast_signed(),
        );
    }
    let mut out = Vec::new();
    for numbers in [numerators, denominators, corrections] {
        integers::write(&mut out, &numbers);
    }
    Some(out)
}

/// Reads the bits of this number of values.
pub(crate) fn read(reader: &mut Reader<'_>, count: usize, form: Form) -> Result<Vec<i64>, Damaged> {
    let numerators = integers::read(reader, count)?;
    let denominators = integers::read(reader, count)?;
    let corrections = integers::read(reader, count)?;
    let quotients = numerators
        .into_iter()
        .zip(denominators)
        .map(|(numerator, denominator)| form.value(numerator, denominator));
    Ok(quotients
        .zip(corrections)
        .map(|(quotient, correction)| quotient.to_bits().cast_signed().wrapping_add(correction))
        .collect())
}

/// The simplest fraction that equals the value within the tolerance, by its continued fraction.
fn fraction(value: f64) -> Option<(i64, i64)> {
    let size = value.abs();
    let mut rest = size;
    let (mut before, mut last) = ((0.0, 1.0), (1.0, 0.0));
    for _ in 0..MAX_TERMS {
        let term = rest.floor();
        let next: (f64, f64) = (term * last.0 + before.0, term * last.1 + before.1);
        // Negated, so that NaN ends here, too.
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
