//! Small integers, mostly zero or close to it, in few bits: an adaptive run-length and Golomb-Rice code after Malvar's
//! RLGR. It adapts to the length of runs of zeros and to the size of the numbers, so it needs no tables and follows a
//! series that changes its behaviour. `integers` packs evenly distributed numbers in fixed widths.

use super::Damaged;
use super::bits::{BitReader, BitWriter};

/// A quotient this long is not written in unary; the number follows with its width instead.
const MAX_QUOTIENT: u32 = 24;
/// The adaptive parameters are counted in eighths of a bit.
const EIGHTHS: u32 = 3;
/// The longest run of zeros in one step is 2^14, more than the rounds of a window.
const MAX_RUN: u32 = 14 << EIGHTHS;
/// The maximum width of a remainder is 63 bits.
const MAX_REMAINDER: u32 = 63 << EIGHTHS;

/// Writes numbers, given an initial guess of their typical width in bits (at most 63).
pub(crate) fn write(bits: &mut BitWriter, numbers: &[u64], guess: u32) {
    let mut learnt = Learnt::new(guess);
    let mut rest = numbers;
    while let Some((&number, after)) = rest.split_first() {
        let run_bits = learnt.run_bits();
        if run_bits == 0 {
            write_number(bits, number, &mut learnt);
            learnt.update_single(number);
            rest = after;
            continue;
        }
        let step = 1 << run_bits;
        let zeros = rest.iter().take(step).take_while(|number| **number == 0).count();
        if zeros == step || zeros == rest.len() {
            bits.write(0, 1);
            learnt.update_run();
            rest = &rest[zeros..];
        } else {
            bits.write(1, 1);
            bits.write(zeros as u64, run_bits);
            write_number(bits, rest[zeros] - 1, &mut learnt);
            learnt.update_end_of_run();
            rest = &rest[zeros + 1..];
        }
    }
}

/// Reads this number of numbers.
pub(crate) fn read(bits: &mut BitReader<'_>, count: usize, guess: u32) -> Result<Vec<u64>, Damaged> {
    let mut learnt = Learnt::new(guess);
    let mut numbers = Vec::with_capacity(count);
    while numbers.len() < count {
        let run_bits = learnt.run_bits();
        if run_bits == 0 {
            let number = read_number(bits, &mut learnt)?;
            learnt.update_single(number);
            numbers.push(number);
        } else if bits.read(1)? == 0 {
            // The last run may be shorter than its step.
            numbers.resize((numbers.len() + (1 << run_bits)).min(count), 0);
            learnt.update_run();
        } else {
            let end = numbers.len() + bits.read(run_bits)? as usize;
            if end >= count {
                return Err(Damaged::because("a run of zeros goes beyond the last value"));
            }
            numbers.resize(end, 0);
            numbers.push(read_number(bits, &mut learnt)?.wrapping_add(1));
            learnt.update_end_of_run();
        }
    }
    Ok(numbers)
}

fn write_number(bits: &mut BitWriter, number: u64, learnt: &mut Learnt) {
    let width = learnt.remainder_bits();
    let quotient = number >> width;
    if quotient < u64::from(MAX_QUOTIENT) {
        bits.write_ones(quotient as u32);
        bits.write(0, 1);
        bits.write(number, width);
        learnt.update_quotient(quotient as u32);
    } else {
        let needed = u64::BITS - number.leading_zeros();
        bits.write_ones(MAX_QUOTIENT);
        bits.write(u64::from(needed - 1), 6);
        bits.write(number, needed);
        learnt.update_quotient(MAX_QUOTIENT);
    }
}

fn read_number(bits: &mut BitReader<'_>, learnt: &mut Learnt) -> Result<u64, Damaged> {
    let quotient = bits.read_ones(MAX_QUOTIENT)?;
    let number = if quotient < MAX_QUOTIENT {
        let width = learnt.remainder_bits();
        (u64::from(quotient) << width) | bits.read(width)?
    } else {
        let needed = bits.read(6)? as u32 + 1;
        bits.read(needed)?
    };
    learnt.update_quotient(quotient);
    Ok(number)
}

/// The adaptive parameters, which writer and reader derive from the numbers so far.
struct Learnt {
    run: u32,
    remainder: u32,
}

/// The increments are those of Malvar's code as Remote Desktop uses it.
impl Learnt {
    fn new(guess: u32) -> Self {
        Self {
            run: 1 << EIGHTHS,
            remainder: guess << EIGHTHS,
        }
    }

    fn run_bits(&self) -> u32 {
        self.run >> EIGHTHS
    }

    fn remainder_bits(&self) -> u32 {
        self.remainder >> EIGHTHS
    }

    fn update_run(&mut self) {
        self.run = (self.run + 4).min(MAX_RUN);
    }

    fn update_end_of_run(&mut self) {
        self.run = self.run.saturating_sub(6);
    }

    fn update_single(&mut self, number: u64) {
        self.run = if number == 0 {
            self.run + 3
        } else {
            self.run.saturating_sub(3)
        };
    }

    fn update_quotient(&mut self, quotient: u32) {
        self.remainder = match quotient {
            0 => self.remainder.saturating_sub(2),
            1 => self.remainder,
            _ => (self.remainder + quotient).min(MAX_REMAINDER),
        };
    }
}
