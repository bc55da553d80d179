//! Patterns as operators write them: plain text with `*` for anything within one part, and `**` for anything
//! at all. What ends a part depends on what is matched: a dot in a DNS name, a comma in a distinguished name.
//! A comma that is escaped ends no part and is matched by no plain comma, so a value cannot pose as the rest of
//! the pattern.

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
    pub fn matches(&self, text: &str, stops: Stops) -> bool {
        matches(&self.0, text, stops)
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

/// The bytes that end a part, and the backslash where it escapes them; none means that there are no parts.
pub type Stops = &'static [u8];

/// Of text without parts.
pub const PLAIN: Stops = b"";
/// Of distinguished names as RFC 4514 writes them.
pub const NAME: Stops = b",+\\";

/// Whether `pattern` matches the whole of `text`.
///
/// It goes back to the last star only, and to the last double star when that is not enough.
pub fn matches(pattern: &str, text: &str, stops: Stops) -> bool {
    if !pattern.contains('*') {
        return pattern == text;
    }
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut seen) = (0, 0);
    let mut star: Option<Star> = None;
    let mut double: Option<Star> = None;
    loop {
        if pattern[at..].starts_with(b"*") {
            let open = Star::read(pattern, at, seen, stops);
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
        if same && (!is_escaped(text, seen, stops) || is_escaped(pattern, at, stops)) {
            at += 1;
            seen += 1;
            continue;
        }
        // A star gives way by one letter; a single one may not swallow the end of a part.
        let single = star.as_mut().filter(|star| star.may_swallow(text, stops));
        let Some(open) = single.or(double.as_mut().filter(|star| star.may_swallow(text, PLAIN))) else {
            return false;
        };
        open.taken += 1;
        (at, seen) = (open.after, open.taken);
        if open.crosses {
            star = None;
        }
    }
}

/// Whether the byte there stands behind a backslash that escapes it. After two of them it does not matter which
/// escapes which: taking it for escaped only ever matches less.
fn is_escaped(text: &[u8], at: usize, stops: Stops) -> bool {
    stops.contains(&b'\\') && at > 0 && text[at - 1] == b'\\'
}

struct Star {
    /// Where the pattern goes on.
    after: usize,
    /// Where the text goes on.
    taken: usize,
    crosses: bool,
}

impl Star {
    fn read(pattern: &[u8], at: usize, taken: usize, stops: Stops) -> Self {
        let stars = pattern[at..].iter().take_while(|byte| **byte == b'*').count();
        Self {
            after: at + stars,
            taken,
            crosses: stars > 1 || stops.is_empty(),
        }
    }

    fn may_swallow(&self, text: &[u8], stops: Stops) -> bool {
        text.get(self.taken).is_some_and(|byte| !stops.contains(byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, stops: Stops, yes: &[&str], no: &[&str]) {
        for text in yes {
            assert!(matches(pattern, text, stops), "{pattern} should match {text}");
        }
        for text in no {
            assert!(!matches(pattern, text, stops), "{pattern} should not match {text}");
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
    fn a_value_cannot_pose_as_the_rest_of_the_pattern() {
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
    fn a_hostile_pattern_ends() {
        assert!(!matches(&("*a".repeat(200) + "b"), &"a".repeat(4000), PLAIN));
        assert!(!matches(&("**a*a".repeat(60) + "b"), &"a".repeat(2000), b"."));
    }
}
