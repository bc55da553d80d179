//! Texts that others wrote, made fit to be kept and shown: of bounded length, and of a guest on one line. It does
//! not know what they say.

/// The longest explanation that is kept of what is wrong with something; it is a sentence, not a log.
pub(crate) const MAX_REASON_BYTES: usize = 500;

/// The longest name that is repeated in an explanation.
pub(crate) const MAX_NAME_BYTES: usize = 200;

/// A guest's text as it may stand in a log line or on a page: on one line, and no longer than is taken.
pub(crate) fn guest_words(text: &str, longest: usize) -> String {
    let plain = |letter: char| if letter.is_control() { ' ' } else { letter };
    let plain: String = beginning(text, longest).chars().map(plain).collect();
    plain.trim().to_owned()
}

/// The text, in as many bytes; where something is left out, an ellipsis says so.
pub(crate) fn cut(text: &str, longest: usize) -> String {
    const ELLIPSIS: &str = "…";
    if text.len() <= longest {
        return text.to_owned();
    }
    let kept = beginning(text, longest.saturating_sub(ELLIPSIS.len()));
    format!("{kept}{ELLIPSIS}")
}

/// As much of a text as fits into so many bytes, in whole letters.
fn beginning(text: &str, longest: usize) -> &str {
    let ends = (0..=longest.min(text.len())).rev();
    let end = ends.into_iter().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_letters_and_says_so() {
        let check = |text: &str, longest, expected: &str| {
            let cut = cut(text, longest);
            assert_eq!(cut, expected);
            assert!(cut.len() <= longest);
        };
        check("edge-1", 6, "edge-1");
        check("edge-12", 6, "edg…");
        check("ääää", 8, "ääää");
        check("äääää", 8, "ää…");
        check("", 0, "");
    }

    #[test]
    fn a_guest_writes_on_one_line() {
        let check = |text: &str, expected: &str| assert_eq!(guest_words(text, 8), expected);
        check("a\nb\u{1b}[1m", "a b [1m");
        check("\u{1}\u{2}\t", "");
        check("1234567ä", "1234567");
    }
}
