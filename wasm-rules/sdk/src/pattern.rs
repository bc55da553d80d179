//! Wildcard patterns in settings: `*` matches any text within one part, and `**` matches any text at all. The separator
//! of parts depends on the kind of name: a dot in a DNS name, a comma in a distinguished name. An escaped comma
//! separates no parts and matches no plain comma, so the value of an attribute cannot imitate the rest of a pattern.

use serde::{Deserialize, Serialize};

/// A wildcard pattern; every text is a valid one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pattern(String);

impl Pattern {
    /// The pattern with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text of the pattern.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the pattern matches the whole text, as [`matches`] does.
    pub fn matches(&self, text: &str, separators: Separators) -> bool {
        matches(&self.0, text, separators)
    }

    /// The text of a pattern without wildcards.
    pub fn exact(&self) -> Option<&str> {
        (!self.0.contains('*')).then_some(self.0.as_str())
    }
}

/// The pattern to request in a plan, so that the rule is shown every metric that `metric` matches. A plan supports a
/// `*` at the end of a name only.
pub fn plan_pattern(metric: &str) -> String {
    match metric.split_once('*') {
        Some((prefix, _)) => format!("{prefix}*"),
        None => metric.to_owned(),
    }
}

/// The bytes that separate parts, and the backslash where it escapes them; empty for text without parts.
pub type Separators = &'static [u8];

/// For text without parts.
pub const PLAIN: Separators = b"";
/// For distinguished names in the notation of RFC 4514.
pub const NAME: Separators = b",+\\";

/// Whether `pattern` matches the whole of `text`.
///
/// Backtracks to the last `*` only, and to the last `**` when that is not enough, so the time is bounded by the product
/// of both lengths.
pub fn matches(pattern: &str, text: &str, separators: Separators) -> bool {
    if !pattern.contains('*') {
        return pattern == text;
    }
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut seen) = (0, 0);
    let mut star: Option<Star> = None;
    let mut double: Option<Star> = None;
    loop {
        if pattern[at..].starts_with(b"*") {
            let open = Star::read(pattern, at, seen, separators);
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
        let same = at < pattern.len() && pattern.get(at) == text.get(seen);
        if same && (!is_escaped(text, seen, separators) || is_escaped(pattern, at, separators)) {
            at += 1;
            seen += 1;
            continue;
        }
        // A wildcard takes one more byte; a single star may not take a separator.
        let single = star.as_mut().filter(|star| star.may_take(text, separators));
        let Some(open) = single.or(double.as_mut().filter(|star| star.may_take(text, PLAIN))) else {
            return false;
        };
        open.taken += 1;
        (at, seen) = (open.after, open.taken);
        if open.crosses {
            star = None;
        }
    }
}

/// Whether a backslash escapes the byte at `at`. After two backslashes the byte counts as escaped too, which can only
/// make a pattern match less.
fn is_escaped(text: &[u8], at: usize, separators: Separators) -> bool {
    separators.contains(&b'\\') && at > 0 && text[at - 1] == b'\\'
}

struct Star {
    /// The position in the pattern after the wildcard.
    after: usize,
    /// The position in the text after what the wildcard matches so far.
    taken: usize,
    crosses: bool,
}

impl Star {
    fn read(pattern: &[u8], at: usize, taken: usize, separators: Separators) -> Self {
        let stars = pattern[at..].iter().take_while(|byte| **byte == b'*').count();
        Self {
            after: at + stars,
            taken,
            crosses: stars > 1 || separators.is_empty(),
        }
    }

    fn may_take(&self, text: &[u8], separators: Separators) -> bool {
        text.get(self.taken).is_some_and(|byte| !separators.contains(byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, separators: Separators, yes: &[&str], no: &[&str]) {
        for text in yes {
            assert!(matches(pattern, text, separators), "{pattern} should match {text}");
        }
        for text in no {
            assert!(!matches(pattern, text, separators), "{pattern} should not match {text}");
        }
    }

    #[test]
    fn plain_text_matches_itself() {
        check("CN=ada", NAME, &["CN=ada"], &["CN=ad", "CN=adab", "cn=ada", ""]);
        check("", PLAIN, &[""], &["a"]);
    }

    #[test]
    fn a_star_stays_within_its_part() {
        check(
            "*.example.org",
            b".",
            &["a.example.org", ".example.org"],
            &["a.b.example.org", "example.org"],
        );
        check(
            "CN=*,OU=admin,O=X",
            NAME,
            &["CN=ada,OU=admin,O=X"],
            &["CN=ada,OU=user,OU=admin,O=X"],
        );
        check("CN=*", NAME, &["CN=a"], &["CN=a+OU=admin", "CN=a,O=X"]);
    }

    #[test]
    fn a_value_cannot_imitate_the_rest_of_the_pattern() {
        let forged = [
            "CN=evil\\,OU=admin,O=X",
            "CN=evil\\\\\\,OU=admin,O=X",
            "CN=\\,OU=admin,O=X",
        ];
        check("CN=*,OU=admin,O=X", NAME, &["CN=ada,OU=admin,O=X"], &forged);
        check(
            "**,OU=admin,O=X",
            NAME,
            &["CN=ada,OU=admin,O=X", "CN=a,L=b,OU=admin,O=X"],
            &forged,
        );
        check("CN=*+OU=admin", NAME, &["CN=ada+OU=admin"], &["CN=evil\\+OU=admin"]);
        check("CN=Doe\\, J*,O=X", NAME, &["CN=Doe\\, Jane,O=X"], &["CN=Doe, Jane,O=X"]);
    }

    #[test]
    fn two_stars_cross_parts() {
        check("**.org", b".", &["a.b.org", ".org"], &["a.com"]);
        check("a.**.*.z", b".", &["a.b.c.z", "a.b.c.d.z"], &["a.z", "b.c.d.z"]);
        check("*", PLAIN, &["", "anything at all"], &[]);
        check("a*b*c", PLAIN, &["abc", "a.b.b.c", "axxbyyc"], &["acb", "ab"]);
    }

    #[test]
    fn a_pattern_with_many_stars_is_matched_in_bounded_time() {
        assert!(!matches(&("*a".repeat(200) + "b"), &"a".repeat(4000), PLAIN));
        assert!(!matches(&("**a*a".repeat(60) + "b"), &"a".repeat(2000), b"."));
    }
}
