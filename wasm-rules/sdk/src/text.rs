//! Sentences that the host takes: not too long, and not empty. What they say is the rule's.

/// The host takes 1,600 bytes at least, and labels that come from elsewhere may be long.
const MAX_TEXT_BYTES: usize = 1500;

/// The sentence, or as much of it as the host takes.
pub fn cut(sentence: String) -> String {
    cut_to(MAX_TEXT_BYTES, sentence)
}

/// As much of a text as is meant to stand in a sentence, with an ellipsis where something is left out.
pub fn cut_to(longest: usize, mut text: String) -> String {
    if text.len() > longest {
        let end = (0..=longest).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
        text.push('…');
    }
    text
}

/// Whether nothing of it can be seen. The host takes such a sentence for none.
pub fn is_blank(text: &str) -> bool {
    text.chars().all(|letter| letter.is_whitespace() || letter.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_cut_between_letters() {
        assert_eq!(cut_to(3, "abc".to_owned()), "abc");
        assert_eq!(cut_to(3, "abcd".to_owned()), "abc…");
        assert_eq!(cut_to(3, "aää".to_owned()), "aä…");
        assert_eq!(cut("x".repeat(5000)).len(), MAX_TEXT_BYTES + "…".len());
    }

    #[test]
    fn what_cannot_be_seen_is_blank() {
        for blank in ["", " \n\t", "\u{1}\u{7f}", "\u{a0}"] {
            assert!(is_blank(blank), "{blank:?}");
        }
        assert!(!is_blank(" x"));
    }
}
