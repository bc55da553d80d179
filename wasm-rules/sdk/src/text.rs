//! Limits for the messages of a rule: their length, and whether they show anything.

/// The host accepts at least 1,600 bytes; labels of pushed metrics may be longer.
const MAX_TEXT_BYTES: usize = 1500;

/// Truncates a message to the length that the host accepts.
pub fn cut(message: String) -> String {
    cut_to(MAX_TEXT_BYTES, message)
}

/// Truncates a text to `max_bytes` at a character boundary, and adds an ellipsis where it does.
pub fn cut_to(max_bytes: usize, mut text: String) -> String {
    if text.len() > max_bytes {
        let end = (0..=max_bytes).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
        text.push('…');
    }
    text
}

/// Whether a text has only white space and control characters. The host treats such a message as missing.
pub fn is_blank(text: &str) -> bool {
    text.chars().all(|letter| letter.is_whitespace() || letter.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_cut_at_a_character_boundary() {
        assert_eq!(cut_to(3, "abc".to_owned()), "abc");
        assert_eq!(cut_to(3, "abcd".to_owned()), "abc…");
        assert_eq!(cut_to(3, "aää".to_owned()), "aä…");
        assert_eq!(cut("x".repeat(5000)).len(), MAX_TEXT_BYTES + "…".len());
    }

    #[test]
    fn text_without_visible_characters_is_blank() {
        for blank in ["", " \n\t", "\u{1}\u{7f}", "\u{a0}"] {
            assert!(is_blank(blank), "{blank:?}");
        }
        assert!(!is_blank(" x"));
    }
}
