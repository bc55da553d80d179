//! Fuzz target: a damaged column of the history is an error or some values, and never a crash. Then the same bytes are
//! the values of a window, which are read as they were written, or found damaged where a byte of them is changed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use watchpost_history_codec::{Point, Round, Shared, pack, unpack_column};

fuzz_target!(|bytes: &[u8]| {
    // The first two bytes divide the rest into what all columns share, and one column.
    let Some((at, rest)) = bytes.split_first_chunk::<2>() else {
        return;
    };
    let (shared, column) = rest.split_at(usize::from(u16::from_le_bytes(*at)).min(rest.len()));
    if let Ok(shared) = Shared::unpack(shared) {
        let _ = unpack_column(&shared, column);
    }
    written_and_read(rest);
});

/// Packs a window whose rounds have one sample each, 18 bytes for the series, the delay and the value.
fn written_and_read(bytes: &[u8]) {
    let round = |(at, chunk): (usize, &[u8])| {
        let number = |from: usize| u64::from_le_bytes(chunk[from..from + 8].try_into().expect("eight bytes"));
        let point = Point {
            series: i64::from(chunk[0] % 4),
            time_ms: number(2),
            value: f64::from_bits(number(10)),
        };
        (u64::from(chunk[1]) * at as u64, point)
    };
    let rounds: Vec<(u64, Point)> = bytes.chunks_exact(18).enumerate().map(round).collect();
    let window: Vec<Round<'_>> = (rounds.iter())
        .map(|(time_ms, point)| Round {
            time_ms: *time_ms,
            samples: std::slice::from_ref(point),
        })
        .collect();
    let packed = pack(&window).expect("an input has fewer rounds than a window");
    let shared = Shared::unpack(&packed.shared).expect("it was just written");
    let mut count = 0;
    for (series, column) in &packed.columns {
        for sample in unpack_column(&shared, column).expect("it was just written") {
            let (_, written) = &rounds[sample.round];
            assert_eq!(written.series, *series);
            assert_eq!(
                (written.time_ms, written.value.to_bits()),
                (sample.time_ms, sample.value.to_bits())
            );
            count += 1;
        }
    }
    assert_eq!(count, rounds.len());
    damaged(bytes, &packed.shared, &packed.columns);
}

/// Changes one byte of what was packed, chosen by the first bytes of the input, and reads it.
fn damaged(bytes: &[u8], shared: &[u8], columns: &[(i64, Vec<u8>)]) {
    let [low, high, change, ..] = *bytes else { return };
    let at = usize::from(u16::from_le_bytes([low, high]));
    let damage = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let length = bytes.len();
        if let Some(byte) = bytes.get_mut(at % length.max(1)) {
            *byte ^= change;
        }
        bytes
    };
    let intact = Shared::unpack(shared).expect("it was just written");
    let other = Shared::unpack(&damage(shared));
    for (_, column) in columns {
        let _ = unpack_column(&intact, &damage(column));
        if let Ok(other) = &other {
            let _ = unpack_column(other, column);
        }
    }
}
