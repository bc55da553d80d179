//! A line of the audit file: written, and read back with its hash verified. It does not know files.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde_json::{Map, Value};
use watchpost_policies::Digest;

use super::AuditEvent;
use crate::clock;

/// What precedes the hash at the end of a line. The hash covers everything before.
const HASH_FIELD: &str = ",\"hash\":\"";
const END: &str = "\"}";
/// The hexadecimal digits of a hash.
const HASH_LENGTH: usize = 64;

/// The last line of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The number of the line; the first is 1, and 0 is an empty chain.
    pub sequence: u64,
    /// The hash of the line in hexadecimal digits.
    pub hash: String,
}

/// A line that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Its own number and hash.
    pub(super) head: Head,
    /// The hash of the previous line, as this one states it.
    pub(super) previous: String,
}

/// The fields of a line that the chain needs.
#[derive(Deserialize)]
struct Chained {
    sequence: u64,
    previous: String,
}

impl Head {
    /// The head of an empty chain.
    pub(super) fn empty() -> Self {
        Self {
            sequence: 0,
            hash: "0".repeat(HASH_LENGTH),
        }
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.sequence, self.hash)
    }
}

impl FromStr for Head {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("{text:?} is not a head; write NUMBER:HASH, as `watchpost audit verify` prints it");
        let (sequence, hash) = text.trim().split_once(':').ok_or_else(expected)?;
        let sequence = sequence.parse().map_err(|_| expected())?;
        match is_hash(hash) {
            true => Ok(Self {
                sequence,
                hash: hash.to_owned(),
            }),
            false => Err(expected()),
        }
    }
}

/// The line of an event that follows `last`, with its line break, and the new head.
pub(super) fn write(event: &AuditEvent, last: &Head, time_ms: u64) -> (String, Head) {
    let mut fields = Map::new();
    let mut add = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    let sequence = last.sequence + 1;
    add("sequence", sequence.into());
    add("time", clock::written(time_ms).into());
    add("event", event.event.into());
    add("previous", last.hash.clone().into());
    for (name, value) in &event.fields {
        // The fields of the chain cannot be replaced.
        fields.entry(name.clone()).or_insert_with(|| value.clone());
    }
    fields.remove("hash");
    let mut line = Value::Object(fields).to_string();
    line.truncate(line.len() - 1);
    let hash = Digest::of(line.as_bytes()).to_string();
    line.push_str(HASH_FIELD);
    line.push_str(&hash);
    line.push_str(END);
    line.push('\n');
    (line, Head { sequence, hash })
}

/// Reads a line without its line break; none if it is not as it was written.
pub(super) fn read(line: &[u8]) -> Option<Line> {
    let text = std::str::from_utf8(line).ok()?;
    let rest = text.strip_suffix(END)?;
    let (covered, hash) = rest.split_at_checked(rest.len().checked_sub(HASH_LENGTH)?)?;
    let covered = covered.strip_suffix(HASH_FIELD)?;
    if !is_hash(hash) || Digest::of(covered.as_bytes()).to_string() != hash {
        return None;
    }
    let Chained { sequence, previous } = serde_json::from_str(text).ok()?;
    Some(Line {
        head: Head {
            sequence,
            hash: hash.to_owned(),
        },
        previous,
    })
}

fn is_hash(text: &str) -> bool {
    text.len() == HASH_LENGTH && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
