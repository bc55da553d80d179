//! Tests of the compressed size, in bytes per sample for an hour of one sample every ten seconds.

use super::shapes::{self, ROUNDS, window};
use crate::{Round, pack};

#[test]
fn a_constant_column_is_a_few_bytes() {
    check(vec![Some(0.0); ROUNDS], 0.03);
    check(vec![Some(42.5); ROUNDS], 0.04);
}

#[test]
fn an_idle_counter_takes_a_fraction_of_a_byte() {
    check(shapes::idle_counter(), 0.08);
}

#[test]
fn a_steady_counter_takes_half_a_byte() {
    check(shapes::steady_counter(), 0.55);
}

#[test]
fn a_gauge_with_two_decimals_takes_less_than_a_byte() {
    check(shapes::gauge(), 0.75);
}

#[test]
fn memory_in_pages_takes_a_byte_and_a_half() {
    check(shapes::pages(), 1.5);
}

#[test]
fn a_percentage_is_stored_as_a_ratio_of_ticks() {
    check(shapes::percent(), 1.75);
}

#[test]
fn random_floats_take_no_more_than_their_entropy() {
    check(shapes::random_floats(), 7.0);
}

#[test]
fn the_times_of_a_round_cost_little_however_many_series_share_them() {
    let rounds = window(&vec![shapes::steady_counter(); 100]);
    let rounds: Vec<Round<'_>> = rounds
        .iter()
        .map(|(time_ms, samples)| Round {
            time_ms: *time_ms,
            samples,
        })
        .collect();
    let packed = pack(&rounds).expect("the window is small");
    assert!(packed.shared.len() < ROUNDS * 2, "{} bytes", packed.shared.len());
}

/// The column of a series takes at most this many bytes per sample, including its checksum and presence.
fn check(values: Vec<Option<f64>>, max: f64) {
    let samples = values.iter().flatten().count() as f64;
    let rounds = window(&[values]);
    let rounds: Vec<Round<'_>> = rounds
        .iter()
        .map(|(time_ms, samples)| Round {
            time_ms: *time_ms,
            samples,
        })
        .collect();
    let packed = pack(&rounds).expect("the window is small");
    let taken = packed.columns[0].1.len() as f64 / samples;
    assert!(taken <= max, "{taken:.3} bytes a sample");
}
