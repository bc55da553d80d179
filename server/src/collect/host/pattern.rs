//! Patterns of excluded names. `*` matches any text and `[0-9]` a digit. There is no other syntax, because
//! escaping dots is error-prone.

/// Several parsed patterns.
#[derive(Debug)]
pub(super) struct Patterns(Vec<Vec<Part>>);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Letter(char),
    Digit,
    Anything,
}

impl Patterns {
    pub(super) fn new(patterns: &[String]) -> Self {
        Self(patterns.iter().map(|pattern| parts(pattern)).collect())
    }

    /// Whether a pattern matches the whole text.
    pub(super) fn cover(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        self.0.iter().any(|parts| covers(parts, &text))
    }
}

fn parts(pattern: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = pattern;
    while let Some(letter) = rest.chars().next() {
        let (part, length) = match letter {
            '*' => (Part::Anything, 1),
            '[' if rest.starts_with("[0-9]") => (Part::Digit, 5),
            letter => (Part::Letter(letter), letter.len_utf8()),
        };
        parts.push(part);
        rest = &rest[length..];
    }
    parts
}

/// Only the last `*` is retried, so the time is bounded by the product of the lengths.
fn covers(parts: &[Part], text: &[char]) -> bool {
    let (mut part, mut at) = (0, 0);
    let mut retry = None;
    while at < text.len() {
        let fits = match parts.get(part) {
            Some(Part::Anything) => {
                retry = Some((part, at));
                part += 1;
                continue;
            }
            Some(Part::Digit) => text[at].is_ascii_digit(),
            Some(Part::Letter(letter)) => text[at] == *letter,
            None => false,
        };
        if fits {
            (part, at) = (part + 1, at + 1);
        } else if let Some((star, from)) = retry {
            retry = Some((star, from + 1));
            (part, at) = (star + 1, from + 1);
        } else {
            return false;
        }
    }
    parts[part..].iter().all(|part| *part == Part::Anything)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_matches_any_text_and_brackets_a_digit() {
        let check = |pattern: &str, text: &str, expected: bool| {
            let patterns = Patterns::new(&[pattern.to_owned()]);
            assert_eq!(patterns.cover(text), expected, "{pattern} {text}");
        };
        check("", "", true);
        check("", "a", false);
        check("*", "", true);
        check("a*", "a", true);
        check("a*b", "ab", true);
        check("a*b", "a/x/b", true);
        check("a*b", "abc", false);
        check("*a*a*", "banana", true);
        check("*ana", "banana", true);
        check("*anb", "banana", false);
        check("sd*[0-9]", "sda1", true);
        check("sd*[0-9]", "sda", false);
        check("[0-9]", "ü", false);
        check("[0-8]", "[0-8]", true);
        check("größe*", "größen", true);
        check(&"*a".repeat(50), &"a".repeat(49), false);
    }
}
