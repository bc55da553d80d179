//! Encodes one round: its numbers by series, and its facts, gaps and report as JSON. Damaged bytes are an error, never
//! part of a round.

use serde::{Deserialize, Serialize};
use watchpost_policies::{Gap, Labels, Snapshot};

use watchpost_history_codec::Point;

/// Compression of single rounds, which are kept for about an hour.
const ROUND_ZSTD_LEVEL: i32 = 1;
/// Compression of windows, which are kept for weeks.
const WINDOW_ZSTD_LEVEL: i32 = 9;

/// More than a window of the largest reports and gaps; a limit for damaged bytes that claim an absurd size.
const MAX_BYTES: usize = 1 << 28;

const POINT_BYTES: usize = 24;

/// The bytes are not as they were written.
#[derive(Debug, thiserror::Error)]
#[error("a round of the history cannot be read: {0}")]
pub(super) struct Unreadable(String);

/// The parts of a round other than its numbers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RoundExtras {
    pub(super) facts: Labels,
    pub(super) gaps: Vec<Gap>,
    pub(super) report: serde_json::Value,
}

impl RoundExtras {
    pub(super) fn of(snapshot: &Snapshot, report: serde_json::Value) -> Self {
        Self {
            facts: snapshot.facts().clone(),
            gaps: snapshot.gaps().to_vec(),
            report,
        }
    }

    /// JSON on one line.
    pub(super) fn line(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    pub(super) fn from_line(line: &str) -> Result<Self, Unreadable> {
        serde_json::from_str(line).map_err(|error| Unreadable(error.to_string()))
    }
}

pub(super) fn numbers(points: &[Point]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(points.len() * POINT_BYTES);
    for point in points {
        bytes.extend_from_slice(&point.series.to_le_bytes());
        bytes.extend_from_slice(&point.time_ms.to_le_bytes());
        bytes.extend_from_slice(&point.value.to_bits().to_le_bytes());
    }
    compressed(&bytes, ROUND_ZSTD_LEVEL)
}

pub(super) fn points(numbers: &[u8]) -> Result<Vec<Point>, Unreadable> {
    let bytes = expanded(numbers)?;
    let (points, rest) = bytes.as_chunks::<POINT_BYTES>();
    if !rest.is_empty() {
        return Err(Unreadable("its numbers end too early".to_owned()));
    }
    let word = |point: &[u8; POINT_BYTES], at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&point[at * 8..at * 8 + 8]);
        u64::from_le_bytes(word)
    };
    let read = |point: &[u8; POINT_BYTES]| Point {
        series: word(point, 0).cast_signed(),
        time_ms: word(point, 1),
        value: f64::from_bits(word(point, 2)),
    };
    Ok(points.iter().map(read).collect())
}

/// Compresses the extras of one round.
pub(super) fn compress_line(line: &str) -> Vec<u8> {
    compressed(line.as_bytes(), ROUND_ZSTD_LEVEL)
}

/// Compresses the extras of a window, one line each, so that repetitions cost little.
pub(super) fn compress_lines(lines: &[String]) -> Vec<u8> {
    compressed(lines.join("\n").as_bytes(), WINDOW_ZSTD_LEVEL)
}

pub(super) fn lines(extras: &[u8]) -> Result<Vec<String>, Unreadable> {
    let text = String::from_utf8(expanded(extras)?).map_err(|error| Unreadable(error.to_string()))?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn compressed(bytes: &[u8], level: i32) -> Vec<u8> {
    zstd::bulk::compress(bytes, level).expect("there is memory, and the level is one of zstd's")
}

fn expanded(bytes: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let stated = zstd::zstd_safe::get_frame_content_size(bytes).ok().flatten();
    let size = stated
        .and_then(|size| usize::try_from(size).ok())
        .filter(|size| *size <= MAX_BYTES);
    let size = size.ok_or_else(|| Unreadable("the frame is damaged".to_owned()))?;
    zstd::bulk::decompress(bytes, size).map_err(|error| Unreadable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_back_unchanged_and_damaged_ones_are_rejected() {
        let point = |series, value| Point {
            series,
            time_ms: 1_700_000_000_000,
            value,
        };
        let original = [point(1, 0.1), point(-7, -0.0), point(i64::MAX, f64::MAX)];
        let bytes = numbers(&original);
        let read = points(&bytes).expect("they are sound");
        assert!(read == original && read[1].value.is_sign_negative());
        for length in 0..bytes.len() {
            assert!(points(&bytes[..length]).is_err(), "{length}");
        }
        assert!(points(&compressed(&[0; 25], ROUND_ZSTD_LEVEL)).is_err());
    }

    #[test]
    fn a_damaged_size_is_rejected() {
        let mut bytes = compressed(&vec![0; 70_000], ROUND_ZSTD_LEVEL);
        // The size follows the magic number and the frame header.
        bytes[5..9].fill(0xff);
        assert!(expanded(&bytes).is_err());
    }
}
