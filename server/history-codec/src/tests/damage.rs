//! Tests with damaged bytes: they are an error, and never cause a panic.

use super::super::shared::seal;
use super::super::{Packed, Round, Shared, pack, unpack_column};
use super::shapes::{self, Random, window};

/// The shared part starts with a version, and every part with a checksum.
const VERSION_LENGTH: usize = 1;
const CHECKSUM_LENGTH: usize = 4;

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
    let damaged = unpack_column(&shared, &one.columns[0].1).expect_err("it is another window");
    assert_eq!(
        damaged.to_string(),
        "compressed measurements are damaged: the checksum does not match"
    );
}

#[test]
fn an_unknown_version_is_an_error() {
    let mut bytes = mixed().shared;
    bytes[0] += 1;
    let damaged = Shared::unpack(&bytes).expect_err("it is another version");
    assert_eq!(
        damaged.to_string(),
        "compressed measurements are damaged: the window has an unknown version"
    );
}

#[test]
fn changed_bytes_with_a_valid_checksum_never_panic() {
    let packed = mixed();
    let shared = Shared::unpack(&packed.shared).expect("nothing is damaged");
    for body in variations(&packed.shared[VERSION_LENGTH + CHECKSUM_LENGTH..]) {
        let bytes = [vec![packed.shared[0]], seal(packed.shared[0].into(), &body).0].concat();
        // The shared part is different now, so the columns do not belong to it any more.
        if let Ok(shared) = Shared::unpack(&bytes) {
            assert!(unpack_column(&shared, &packed.columns[0].1).is_err() || bytes == packed.shared);
        }
    }
    for (_, column) in &packed.columns {
        for body in variations(&column[CHECKSUM_LENGTH..]) {
            let samples = unpack_column(&shared, &seal(shared.check(), &body).0).unwrap_or_default();
            assert!(samples.len() <= shared.round_times().len());
        }
    }
}

#[test]
fn random_bytes_with_a_valid_checksum_never_panic() {
    let shared = Shared::unpack(&mixed().shared).expect("nothing is damaged");
    let mut random = Random::new(1);
    for _ in 0..20_000 {
        // Small bytes are more often a valid encoding than large ones.
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
        let samples = unpack_column(&shared, &seal(shared.check(), &body).0).unwrap_or_default();
        assert!(samples.len() <= shared.round_times().len());
        let _ = Shared::unpack(&[vec![1], seal(1, &body).0].concat());
    }
}

/// The bytes truncated at every length, and with every byte changed in several ways.
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

/// A short window with series of all shapes.
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
