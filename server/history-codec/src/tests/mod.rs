//! Tests of the whole module: samples are read back unchanged, damage is an error and never a panic, and typical series
//! are small.

mod damage;
mod shapes;
mod size;

use super::{MAX_ROUNDS, Packed, Point, Round, Shared, TooLarge, UnpackedSample, pack, unpack_column};
use shapes::{Random, window};

#[test]
fn samples_are_read_back_bit_by_bit() {
    for (name, values) in shapes::all() {
        check(name, &window(&[values]));
    }
}

#[test]
fn many_series_of_many_shapes_share_a_window() {
    let all: Vec<Vec<Option<f64>>> = shapes::all().into_iter().map(|(_, values)| values).collect();
    check("all shapes", &window(&all));
}

#[test]
fn no_rounds_and_rounds_of_no_samples_are_windows() {
    check("no rounds", &[]);
    check("one empty round", &[(7, vec![])]);
    check("empty rounds", &[(u64::MAX, vec![]), (0, vec![]), (5, vec![])]);
}

#[test]
fn any_bits_of_a_float_survive_even_nan() {
    let mut random = Random::new(9);
    let values = (0..500).map(|_| Some(f64::from_bits(random.next()))).collect();
    check("random bits", &window(&[values]));
    check(
        "no number",
        &window(&[[f64::NAN, f64::INFINITY, -f64::NAN, 1.0, f64::NEG_INFINITY]
            .map(Some)
            .to_vec()]),
    );
}

#[test]
fn any_mixture_of_large_and_small_values_survives() {
    let pool = [
        0.0,
        -0.0,
        0.1,
        1e15,
        1.0 / 67_108_863.0,
        -2.0 / 3.0,
        4e15 / 3.0,
        1e-12,
        2.0_f64.powi(63),
        1e18,
        -1e18,
    ];
    let extremes = [f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324];
    let mut random = Random::new(3);
    for _ in 0..2_000 {
        let limit = if random.below(4) == 0 {
            pool.len() + extremes.len()
        } else {
            pool.len()
        };
        let mut pick = || {
            pool.iter()
                .chain(&extremes)
                .nth(random.below(limit as u64) as usize)
                .copied()
        };
        check("a mixture", &window(&[(0..4).map(|_| pick()).collect()]));
    }
}

#[test]
fn any_times_survive() {
    let mut random = Random::new(4);
    let rounds: Vec<(u64, Vec<Point>)> = (0..50)
        .map(|round| {
            let point = |series| Point {
                series,
                time_ms: random.next() >> (round % 64),
                value: series as f64,
            };
            let points = [i64::MIN, -1, 0, i64::MAX].map(point).to_vec();
            (random.next(), points)
        })
        .collect();
    check("random times", &rounds);
}

#[test]
fn series_that_match_no_shared_clock_store_their_own() {
    let mut random = Random::new(5);
    let rounds: Vec<(u64, Vec<Point>)> = (0..20_u64)
        .map(|round| {
            let point = |series| Point {
                series,
                time_ms: round * 1_000 - random.below(500).min(round),
                value: 1.5,
            };
            (round * 1_000, (0..200).map(point).collect())
        })
        .collect();
    check("two hundred clocks", &rounds);
}

#[test]
fn a_source_that_is_polled_rarely_repeats_its_time() {
    let rounds: Vec<(u64, Vec<Point>)> = (0..360_u64)
        .map(|round| {
            let time_ms = shapes::START_MS + round * 10_000;
            let seen = time_ms - time_ms % 300_000 - 120_000;
            (
                time_ms,
                vec![Point {
                    series: 1,
                    time_ms: seen,
                    value: (seen / 300_000) as f64,
                }],
            )
        })
        .collect();
    let packed = check("five minutes", &rounds);
    assert!(packed.shared.len() < 120, "{} bytes", packed.shared.len());
}

#[test]
fn samples_come_in_any_order_and_columns_in_the_order_of_their_numbers() {
    let at = |series| Point {
        series,
        time_ms: 10,
        value: series as f64,
    };
    let forth = check(
        "forth",
        &[(10, [3, -1, 2].map(at).to_vec()), (20, [2, 3].map(at).to_vec())],
    );
    let back = check(
        "back",
        &[(10, [-1, 2, 3].map(at).to_vec()), (20, [3, 2].map(at).to_vec())],
    );
    assert_eq!(forth, back);
    assert_eq!(
        forth.columns.iter().map(|(series, _)| *series).collect::<Vec<_>>(),
        [-1, 2, 3]
    );
}

#[test]
fn of_two_samples_of_a_series_in_a_round_the_last_counts() {
    let at = |value| Point {
        series: 1,
        time_ms: 10,
        value,
    };
    let packed = pack(&[Round {
        time_ms: 10,
        samples: &[at(1.0), at(2.0)],
    }])
    .expect("one round is not too large");
    let shared = Shared::unpack(&packed.shared).expect("nothing is damaged");
    let samples_read = unpack_column(&shared, &packed.columns[0].1);
    assert_eq!(
        samples_read,
        Ok(vec![UnpackedSample {
            round: 0,
            time_ms: 10,
            value: 2.0
        }])
    );
}

#[test]
fn the_largest_window_is_compressed_and_a_larger_one_is_rejected() {
    let samples = [Point {
        series: 1,
        time_ms: 5,
        value: 1.0,
    }];
    let rounds = vec![
        Round {
            time_ms: 5,
            samples: &samples
        };
        MAX_ROUNDS + 1
    ];
    assert_eq!(pack(&rounds), Err(TooLarge { rounds: MAX_ROUNDS + 1 }));
    let packed = pack(&rounds[1..]).expect("the most rounds are allowed");
    let shared = Shared::unpack(&packed.shared).expect("nothing is damaged");
    assert_eq!(
        unpack_column(&shared, &packed.columns[0].1).map(|samples| samples.len()),
        Ok(MAX_ROUNDS)
    );
}

/// Packs rounds and reads every column back.
fn check(name: &str, rounds: &[(u64, Vec<Point>)]) -> Packed {
    let packable: Vec<Round<'_>> = rounds
        .iter()
        .map(|(time_ms, samples)| Round {
            time_ms: *time_ms,
            samples,
        })
        .collect();
    let packed = pack(&packable).expect("the windows of the tests are small");
    let shared = Shared::unpack(&packed.shared).unwrap_or_else(|damaged| panic!("{name}: {damaged}"));
    assert!(
        shared
            .round_times()
            .iter()
            .eq(rounds.iter().map(|(time_ms, _)| time_ms)),
        "{name}"
    );
    let mut samples = 0;
    for (series, column) in &packed.columns {
        let samples_read =
            unpack_column(&shared, column).unwrap_or_else(|damaged| panic!("{name}, {series}: {damaged}"));
        for UnpackedSample { round, time_ms, value } in &samples_read {
            let same = |point: &&Point| point.series == *series && point.time_ms == *time_ms;
            let point = rounds[*round]
                .1
                .iter()
                .find(same)
                .unwrap_or_else(|| panic!("{name}, {series}: a sample more"));
            assert_eq!(
                point.value.to_bits(),
                value.to_bits(),
                "{name}, {series}, round {round}"
            );
        }
        samples += samples_read.len();
    }
    assert_eq!(
        samples,
        rounds.iter().map(|(_, points)| points.len()).sum::<usize>(),
        "{name}"
    );
    packed
}
