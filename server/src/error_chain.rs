//! Formats an error and its causes as one line, for logs and reports. The API decides separately what clients may see
//! of an error.

use std::error::Error;

/// The error, followed by each of its sources, separated by colons. A source whose text is part of the line already is
/// omitted, because some errors include their source in their own text.
pub(crate) fn error_chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let text = error.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        source = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use std::io;

    use thiserror::Error;

    use super::*;

    #[derive(Debug, Error)]
    #[error("cannot load the rule")]
    struct Plain(#[source] io::Error);

    #[derive(Debug, Error)]
    #[error("cannot load the rule: {0}")]
    struct Repeating(#[source] io::Error);

    #[test]
    fn every_source_is_named_once() {
        let disk_full = || io::Error::other("the disk is full");
        let expected = "cannot load the rule: the disk is full";
        assert_eq!(error_chain(&Plain(disk_full())), expected);
        assert_eq!(error_chain(&Repeating(disk_full())), expected);
    }
}
