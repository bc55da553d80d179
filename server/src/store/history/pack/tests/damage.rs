//! Promises about bytes that are not as they were written: they are told, and whatever they say, nothing panics.

use super::super::shared::seal;
use super::super::{Packed, Round, Shared, pack, unpack_column};
use super::shapes::{self, Random, window};

/// The shared part begins with a version, and everything with a check.
const VERSION_LENGTH: usize = 1;
const CHECK_LENGTH: usize = 4;

#[test]
fn a_truncated_part_is_damaged() {
    let packed = mixed();
    for length in 0..packed.shared.len() {
        assert!(
            Shared::unpack(&packed.shared[..length]).is_err(),
            "{length} bytes of the shared part"
        );
    }
    let shared = Shared::unpack(&packed.shared).expect("nothing is damaged");
    for (series, column) in &packed.columns {
        for length in 0..column.len() {
            assert!(
                unpack_column(&shared, &column[..length]).is_err(),
                "{length} bytes of column {series}"
            );
        }
    }
}

#[test]
fn any_changed_byte_is_damage() {
    let packed = mixed();
    for at in 0..packed.shared.len() {
        let mut bytes = packed.shared.clone();
        bytes[at] ^= 0x10;
        assert!(Shared::unpack(&bytes).is_err(), "byte {at} of the shared part");
    }
    let shared = Shared::unpack(&packed.shared).expect("nothing is damaged");
    for (series, column) in &packed.columns {
        for at in 0..column.len() {
            let mut bytes = column.clone();
            bytes[at] ^= 0x10;
            assert!(unpack_column(&shared, &bytes).is_err(), "byte {at} of column {series}");
        }
    }
}

#[test]
fn a_column_is_not_read_with_another_window() {
    let (one, other) = (packed(&[shapes::gauge()]), packed(&[shapes::gauge()[1..].to_vec()]));
    let shared = Shared::unpack(&other.shared).expect("nothing is damaged");
    let damaged = unpack_column(&shared, &one.columns[0].1).expect_err("the window is another");
    assert_eq!(
        damaged.to_string(),
        "packed measurements are damaged: the bytes do not match their check"
    );
}

#[test]
fn another_version_is_refused_by_name() {
    let mut bytes = mixed().shared;
    bytes[0] += 1;
    let damaged = Shared::unpack(&bytes).expect_err("the version is another");
    assert_eq!(
        damaged.to_string(),
        "packed measurements are damaged: the window has an unknown version"
    );
}

#[test]
fn changed_bytes_whose_check_is_right_never_panic() {
    let packed = mixed();
    let shared = Shared::unpack(&packed.shared).expect("nothing is damaged");
    for body in variations(&packed.shared[VERSION_LENGTH + CHECK_LENGTH..]) {
        let bytes = [vec![packed.shared[0]], seal(packed.shared[0].into(), &body).0].concat();
        // The shared part says something else now, so its columns are no longer its own.
        if let Ok(shared) = Shared::unpack(&bytes) {
            assert!(unpack_column(&shared, &packed.columns[0].1).is_err() || bytes == packed.shared);
        }
    }
    for (_, column) in &packed.columns {
        for body in variations(&column[CHECK_LENGTH..]) {
            let kept = unpack_column(&shared, &seal(shared.check(), &body).0).unwrap_or_default();
            assert!(kept.len() <= shared.round_times().len());
        }
    }
}

#[test]
fn random_bytes_whose_check_is_right_never_panic() {
    let shared = Shared::unpack(&mixed().shared).expect("nothing is damaged");
    let mut random = Random::new(1);
    for _ in 0..20_000 {
        // Small bytes are more often a valid choice than large ones.
        let kind = random.below(2) == 0;
        let body: Vec<u8> = (0..random.below(60))
            .map(|_| {
                if kind {
                    random.below(24) as u8
                } else {
                    random.next() as u8
                }
            })
            .collect();
        let kept = unpack_column(&shared, &seal(shared.check(), &body).0).unwrap_or_default();
        assert!(kept.len() <= shared.round_times().len());
        let _ = Shared::unpack(&[vec![1], seal(1, &body).0].concat());
    }
}

/// The bytes cut short at every length, and with every byte changed in several ways.
fn variations(bytes: &[u8]) -> Vec<Vec<u8>> {
    let cut = (0..bytes.len()).map(|length| bytes[..length].to_vec());
    let changed = (0..bytes.len()).flat_map(|at| {
        [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff].map(|change| {
            let mut bytes = bytes.to_vec();
            bytes[at] ^= change;
            bytes
        })
    });
    cut.chain(changed).collect()
}

/// A short window of all shapes.
fn mixed() -> Packed {
    let series: Vec<Vec<Option<f64>>> = shapes::all()
        .into_iter()
        .map(|(_, values)| values.into_iter().skip(180).take(60).collect())
        .collect();
    packed(&series)
}

fn packed(series: &[Vec<Option<f64>>]) -> Packed {
    let rounds = window(series);
    let rounds: Vec<Round<'_>> = rounds
        .iter()
        .map(|(time_ms, samples)| Round {
            time_ms: *time_ms,
            samples,
        })
        .collect();
    pack(&rounds).expect("the windows of the tests are small")
}
