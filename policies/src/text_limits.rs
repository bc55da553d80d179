//! Limits the length of external texts, and removes line breaks from texts of guests.

/// Maximum length of a reason in an error.
pub(crate) const MAX_REASON_BYTES: usize = 500;

/// Maximum length of a name in an error.
pub(crate) const MAX_NAME_BYTES: usize = 200;

/// A text of a guest for logs and pages: on one line, of limited length.
pub(crate) fn guest_text(text: &str, max: usize) -> String {
    let plain = |letter: char| if letter.is_control() { ' ' } else { letter };
    let plain: String = beginning(text, max).chars().map(plain).collect();
    plain.trim().to_owned()
}

/// The text in at most `max` bytes, with an ellipsis if it is truncated.
pub(crate) fn cut(text: &str, max: usize) -> String {
    const ELLIPSIS: &str = "…";
    if text.len() <= max {
        return text.to_owned();
    }
    let kept = beginning(text, max.saturating_sub(ELLIPSIS.len()));
    format!("{kept}{ELLIPSIS}")
}

/// The longest prefix of at most `max` bytes.
fn beginning(text: &str, max: usize) -> &str {
    let ends = (0..=max.min(text.len())).rev();
    let end = ends.into_iter().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_truncated_between_characters_with_an_ellipsis() {
        let check = |text: &str, max, expected: &str| {
            let cut = cut(text, max);
            assert_eq!(cut, expected);
            assert!(cut.len() <= max);
        };
        check("edge-1", 6, "edge-1");
        check("edge-12", 6, "edg…");
        check("ääää", 8, "ääää");
        check("äääää", 8, "ää…");
        check("", 0, "");
    }

    #[test]
    fn a_text_of_a_guest_is_on_one_line() {
        let check = |text: &str, expected: &str| assert_eq!(guest_text(text, 8), expected);
        check("a\nb\u{1b}[1m", "a b [1m");
        check("\u{1}\u{2}\t", "");
        check("1234567ä", "1234567");
    }
}
