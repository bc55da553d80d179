//! Puts external text on one line: line breaks and control characters must not reach a log or an error message.

/// The text with runs of white space as single spaces and everything unprintable escaped.
pub(crate) fn one_line(text: &str) -> String {
    let line: Vec<&str> = text.split_whitespace().collect();
    line.join(" ")
        .escape_debug()
        .to_string()
        .replace("\\\"", "\"")
        .replace("\\'", "'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_become_spaces_and_control_characters_are_escaped() {
        assert_eq!(one_line("expected `=`,\n  found \u{7}"), "expected `=`, found \\u{7}");
    }
}
