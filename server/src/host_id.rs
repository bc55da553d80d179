//! The name of a machine in rounds, reports, the history and records. It does not say how the machine is reached, and
//! this module does not determine the local name.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// The maximum length of a host name in a snapshot; a longer name would be truncated there, and the two names would
/// differ.
const MAX_BYTES: usize = 255;

/// The name of a machine: 1 to 255 bytes without control characters and without white space around them. Cheap to
/// clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostId(Arc<str>);

/// Why a text is not a valid machine name; the message says what to write instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHostId {
    /// The text is empty or white space.
    #[error("the name is empty; write a name, or omit it to use the machine's name")]
    Empty,
    /// The text is longer than 255 bytes.
    #[error("the name is longer than {MAX_BYTES} bytes; write a shorter name")]
    TooLong,
    /// White space around a name would make two names look the same.
    #[error("the name begins or ends with white space; remove it")]
    Padded,
    /// Control characters would break lines in logs and pages.
    #[error("the name contains control characters; remove them")]
    ControlCharacter,
}

impl HostId {
    /// Validates a name.
    pub fn new(name: &str) -> Result<Self, InvalidHostId> {
        let trimmed = name.trim();
        if trimmed.is_empty() {
            return Err(InvalidHostId::Empty);
        }
        if name.len() > MAX_BYTES {
            return Err(InvalidHostId::TooLong);
        }
        if name.chars().any(char::is_control) {
            return Err(InvalidHostId::ControlCharacter);
        }
        if trimmed.len() < name.len() {
            return Err(InvalidHostId::Padded);
        }
        Ok(Self(name.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for HostId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use watchpost_policies::{Labels, Snapshot};

    use super::*;

    #[test]
    fn ambiguous_names_and_control_characters_are_rejected() {
        for legal in ["edge-1", "a", "Büro 3", &"x".repeat(MAX_BYTES)] {
            assert_eq!(HostId::new(legal).map(|host| host.to_string()), Ok(legal.to_owned()));
        }
        for (text, reason) in [
            ("", InvalidHostId::Empty),
            (" \n", InvalidHostId::Empty),
            (" edge-1", InvalidHostId::Padded),
            ("edge-1 ", InvalidHostId::Padded),
            ("edge\n1", InvalidHostId::ControlCharacter),
            (&"x".repeat(MAX_BYTES + 1), InvalidHostId::TooLong),
        ] {
            assert_eq!(HostId::new(text), Err(reason), "{text:?}");
        }
    }

    #[test]
    fn a_snapshot_keeps_the_longest_name_unchanged() {
        let longest = "x".repeat(MAX_BYTES);
        let snapshot = Snapshot::new(longest.clone(), 1, Labels::none(), Vec::new(), Vec::new());
        assert_eq!(snapshot.host(), longest);
    }
}
