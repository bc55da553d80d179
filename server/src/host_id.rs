//! The name by which a machine is known everywhere: in rounds, reports, history and records. It says nothing of how the
//! machine is reached, and nothing here asks the machine for it.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// As many bytes of a host's name are kept in a snapshot; a longer name would be cut there, and the two would not be
/// the same any more.
const MAX_BYTES: usize = 255;

/// The name of a machine: 1 to 255 bytes without control characters and without white space around them. Cheap to
/// clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostId(Arc<str>);

/// Why a text is not the name of a machine; the sentence says what to write instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHostId {
    /// Nothing but white space.
    #[error("it is empty; write a name, or leave it out for the machine's own")]
    Empty,
    /// More than 255 bytes.
    #[error("it is longer than {MAX_BYTES} bytes; write a shorter name")]
    TooLong,
    /// White space around it would make two names of one.
    #[error("it begins or ends with white space; write the name without it")]
    Padded,
    /// Such names would break lines in logs and on pages.
    #[error("it has control characters in it; write the name without them")]
    ControlCharacter,
}

impl HostId {
    /// The machine of this name.
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

    /// The name.
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
    fn what_could_be_taken_for_another_name_or_break_a_line_is_none() {
        for legal in ["edge-1", "a", "Büro 3", &"x".repeat(MAX_BYTES)] {
            assert_eq!(HostId::new(legal).map(|host| host.to_string()), Ok(legal.to_owned()));
        }
        for (text, why) in [
            ("", InvalidHostId::Empty),
            (" \n", InvalidHostId::Empty),
            (" edge-1", InvalidHostId::Padded),
            ("edge-1 ", InvalidHostId::Padded),
            ("edge\n1", InvalidHostId::ControlCharacter),
            (&"x".repeat(MAX_BYTES + 1), InvalidHostId::TooLong),
        ] {
            assert_eq!(HostId::new(text), Err(why), "{text:?}");
        }
    }

    #[test]
    fn a_snapshot_has_the_longest_name_whole() {
        let longest = "x".repeat(MAX_BYTES);
        let snapshot = Snapshot::new(longest.clone(), 1, Labels::none(), Vec::new(), Vec::new());
        assert_eq!(snapshot.host(), longest);
    }
}
