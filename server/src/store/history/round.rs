//! One round as bytes: its numbers by series, and what else there is to tell of it as JSON. It is read back whole or
//! refused.

use serde::{Deserialize, Serialize};
use watchpost_policies::{Gap, Labels, Snapshot};

use super::pack::Point;

/// Compression for what is kept for an hour and for what is kept for weeks.
const ZSTD_LEVEL: i32 = 1;
const SMALL: i32 = 9;

/// More than a window of the largest reports and gaps; whoever reads damaged bytes must stop somewhere.
const MAX_BYTES: usize = 1 << 28;

const POINT_BYTES: usize = 24;

/// Bytes that are not what was written.
#[derive(Debug, thiserror::Error)]
#[error("a round of the history cannot be read: {0}")]
pub(super) struct Unreadable(String);

/// What there is to tell of a round besides its numbers.
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

    /// One line.
    pub(super) fn line(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    pub(super) fn of_line(line: &str) -> Result<Self, Unreadable> {
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
    compressed(&bytes, ZSTD_LEVEL)
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

/// The text of one round.
pub(super) fn text(line: &str) -> Vec<u8> {
    compressed(line.as_bytes(), ZSTD_LEVEL)
}

/// The texts of a window, a line each; what they share is there once.
pub(super) fn texts(lines: &[String]) -> Vec<u8> {
    compressed(lines.join("\n").as_bytes(), SMALL)
}

pub(super) fn lines(told: &[u8]) -> Result<Vec<String>, Unreadable> {
    let text = String::from_utf8(expanded(told)?).map_err(|error| Unreadable(error.to_string()))?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn compressed(bytes: &[u8], level: i32) -> Vec<u8> {
    zstd::bulk::compress(bytes, level).expect("there is memory, and the level is one of zstd's")
}

fn expanded(bytes: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let told = zstd::zstd_safe::get_frame_content_size(bytes).ok().flatten();
    let size = told
        .and_then(|size| usize::try_from(size).ok())
        .filter(|size| *size <= MAX_BYTES);
    let size = size.ok_or_else(|| Unreadable("it is not as it was written".to_owned()))?;
    zstd::bulk::decompress(bytes, size).map_err(|error| Unreadable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_as_they_were_and_damaged_ones_are_refused() {
        let point = |series, value| Point {
            series,
            time_ms: 1_700_000_000_000,
            value,
        };
        let kept = [point(1, 0.1), point(-7, -0.0), point(i64::MAX, f64::MAX)];
        let bytes = numbers(&kept);
        let read = points(&bytes).expect("they are sound");
        assert!(read == kept && read[1].value.is_sign_negative());
        for length in 0..bytes.len() {
            assert!(points(&bytes[..length]).is_err(), "{length}");
        }
        assert!(points(&compressed(&[0; 25], ZSTD_LEVEL)).is_err());
    }

    #[test]
    fn a_size_that_nobody_wrote_is_not_believed() {
        let mut bytes = compressed(&vec![0; 70_000], ZSTD_LEVEL);
        // The size stands behind the magic number and the frame's description.
        bytes[5..9].fill(0xff);
        assert!(expanded(&bytes).is_err());
    }
}
