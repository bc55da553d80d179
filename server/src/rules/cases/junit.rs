//! Writes outcomes in the JUnit format for build servers. Findings are included only for failed cases.

use std::fmt::Write;
use std::time::Duration;

use super::Outcome;

/// One suite, named after the rule.
pub fn junit(rule: &str, outcomes: &[Outcome]) -> String {
    let failures = outcomes.iter().filter(|outcome| outcome.failure.is_some()).count();
    let duration: Duration = outcomes.iter().map(|outcome| outcome.duration).sum();
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"{}\" tests=\"{}\" \
         failures=\"{failures}\" errors=\"0\" skipped=\"0\" time=\"{:.6}\">\n",
        escaped(rule),
        outcomes.len(),
        duration.as_secs_f64()
    );
    for Outcome {
        name,
        duration,
        failure,
    } in outcomes
    {
        let _ = write!(
            xml,
            "    <testcase classname=\"{}\" name=\"{}\" time=\"{:.6}\"",
            escaped(rule),
            escaped(name),
            duration.as_secs_f64()
        );
        match failure {
            None => xml.push_str("/>\n"),
            Some(failure) => {
                let first = failure.lines().next().unwrap_or_default();
                let _ = write!(
                    xml,
                    ">\n      <failure message=\"{}\">{}</failure>\n    </testcase>\n",
                    escaped(first),
                    escaped(failure)
                );
            }
        }
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

/// Escapes text and attribute values. Characters that XML does not allow become question marks.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(letter),
            '\u{fffe}' | '\u{ffff}' => escaped.push('?'),
            letter if letter.is_control() => escaped.push('?'),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_has_its_text_and_special_characters_are_escaped() {
        let outcome = |name: &str, failure: Option<&str>| Outcome {
            name: name.to_owned(),
            duration: Duration::from_millis(2),
            failure: failure.map(str::to_owned),
        };
        let outcomes = [
            outcome("good", None),
            outcome("a <b> & \"c\"\u{1b}", Some("round 1: no\n  disk{mountpoint=\"/\"} < 5")),
        ];
        assert_eq!(
            junit("weekend", &outcomes),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  \
             <testsuite name=\"weekend\" tests=\"2\" failures=\"1\" errors=\"0\" skipped=\"0\" time=\"0.004000\">\n    \
             <testcase classname=\"weekend\" name=\"good\" time=\"0.002000\"/>\n    \
             <testcase classname=\"weekend\" name=\"a &lt;b&gt; &amp; &quot;c&quot;?\" time=\"0.002000\">\n      \
             <failure message=\"round 1: no\">round 1: no\n  disk{mountpoint=&quot;/&quot;} &lt; 5</failure>\n    \
             </testcase>\n  </testsuite>\n</testsuites>\n"
        );
    }
}
