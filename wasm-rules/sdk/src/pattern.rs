//! Patterns as operators write them: plain text with `*` for anything within one part, and `**` for anything
//! at all. What ends a part depends on what is matched: a dot in a DNS name, a comma in a distinguished name.
//! So a pattern cannot be tricked by a value that holds the rest of the pattern.

use serde::{Deserialize, Serialize};

/// A pattern.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pattern(String);

impl Pattern {
    /// The pattern with this text; every text is one.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As [`matches`] has it.
    pub fn matches(&self, text: &str, separator: Option<u8>) -> bool {
        matches(&self.0, text, separator)
    }

    /// The text, if it stands for nothing but itself.
    pub fn exact(&self) -> Option<&str> {
        (!self.0.contains('*')).then_some(self.0.as_str())
    }
}

/// What a plan has to ask for so that it is shown every metric that this pattern matches.
pub fn wanted(metric: &str) -> String {
    match metric.split_once('*') {
        Some((beginning, _)) => format!("{beginning}*"),
        None => metric.to_owned(),
    }
}

/// Whether `pattern` matches the whole of `text`, in which `separator` ends a part. `None`: there are no parts.
///
/// It goes back to the last star only, and to the last double star when that is not enough.
pub fn matches(pattern: &str, text: &str, separator: Option<u8>) -> bool {
    if !pattern.contains('*') {
        return pattern == text;
    }
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut seen) = (0, 0);
    let mut star: Option<Star> = None;
    let mut double: Option<Star> = None;
    loop {
        if pattern[at..].starts_with(b"*") {
            let open = Star::read(pattern, at, seen, separator);
            at = open.after;
            if open.crosses {
                (double, star) = (Some(open), None);
            } else {
                star = Some(open);
            }
            continue;
        }
        if at == pattern.len() && seen == text.len() {
            return true;
        }
        if at < pattern.len() && pattern.get(at) == text.get(seen) {
            at += 1;
            seen += 1;
            continue;
        }
        // A star gives way by one letter; a single one may not swallow the end of a part.
        let single = star.as_mut().filter(|star| star.may_swallow(text, separator));
        let Some(open) = single.or(double.as_mut().filter(|star| star.may_swallow(text, None))) else {
            return false;
        };
        open.taken += 1;
        (at, seen) = (open.after, open.taken);
        if open.crosses {
            star = None;
        }
    }
}

struct Star {
    /// Where the pattern goes on.
    after: usize,
    /// Where the text goes on.
    taken: usize,
    crosses: bool,
}

impl Star {
    fn read(pattern: &[u8], at: usize, taken: usize, separator: Option<u8>) -> Self {
        let stars = pattern[at..].iter().take_while(|byte| **byte == b'*').count();
        Self {
            after: at + stars,
            taken,
            crosses: stars > 1 || separator.is_none(),
        }
    }

    fn may_swallow(&self, text: &[u8], separator: Option<u8>) -> bool {
        text.get(self.taken).is_some_and(|byte| Some(*byte) != separator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, separator: Option<u8>, yes: &[&str], no: &[&str]) {
        for text in yes {
            assert!(
                Pattern::new(pattern).matches(text, separator),
                "{pattern} should match {text}"
            );
        }
        for text in no {
            assert!(
                !Pattern::new(pattern).matches(text, separator),
                "{pattern} should not match {text}"
            );
        }
    }

    #[test]
    fn plain_text_matches_itself() {
        check("CN=ada", Some(b','), &["CN=ada"], &["CN=ad", "CN=adab", "cn=ada", ""]);
        check("", None, &[""], &["a"]);
    }

    #[test]
    fn a_star_stays_within_its_part() {
        check(
            "*.example.org",
            Some(b'.'),
            &["a.example.org", ".example.org"],
            &["a.b.example.org", "example.org"],
        );
        check(
            "CN=*,OU=admin,O=X",
            Some(b','),
            &["CN=ada,OU=admin,O=X"],
            &["CN=x\\,OU=admin,OU=user,OU=admin,O=X"],
        );
        check(
            "CN=*,OU=admin",
            Some(b','),
            &["CN=a,OU=admin"],
            &["CN=evil\\,OU=admin,OU=none", "CN=e\\,x,OU=admin"],
        );
    }

    #[test]
    fn two_stars_cross_parts() {
        check("**.org", Some(b'.'), &["a.b.org", ".org"], &["a.com"]);
        check("a.**.*.z", Some(b'.'), &["a.b.c.z", "a.b.c.d.z"], &["a.z", "b.c.d.z"]);
        check("*", None, &["", "anything at all"], &[]);
        check("a*b*c", None, &["abc", "a.b.b.c", "axxbyyc"], &["acb", "ab"]);
    }

    #[test]
    fn a_hostile_pattern_takes_no_more_than_its_square() {
        let pattern = Pattern::new("*a".repeat(200) + "b");
        assert!(!pattern.matches(&"a".repeat(4000), None));
        let pattern = Pattern::new("**a*a".repeat(60) + "b");
        assert!(!pattern.matches(&"a".repeat(2000), Some(b'.')));
    }
}
