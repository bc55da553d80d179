//! Parses the text format of Prometheus strictly: one mistake makes the whole file invalid, because a file that is
//! written at this moment must not look like one with fewer metrics. It reads no files. Errors name the line and quote
//! nothing of it: other programs write the files, perhaps one that was never meant for other readers.

use std::collections::{BTreeMap, HashSet};

use watchpost_policies::{Labels, MeasureError, MetricName};

use super::super::read;
use super::MAX_SERIES;
use crate::metrics::{DeclaredFamily, Kind};

/// Longer help texts are cut, and end with `…`.
const MAX_HELP_BYTES: usize = 500;

/// Each of the series that are allowed may have a type, a help text and a comment.
pub(super) const MAX_LINES: usize = 10_000;

/// The content of a file.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) samples: Vec<ParsedSample>,
    pub(super) families: Vec<DeclaredFamily>,
}

#[derive(Debug, PartialEq)]
pub(super) struct ParsedSample {
    pub(super) metric: MetricName,
    pub(super) labels: Labels,
    /// It may be infinite or not a number.
    pub(super) value: f64,
    /// Its line in the file, from one.
    pub(super) line: usize,
}

/// Parses a file that may have at most so many series. It stops at the first line that is wrong or too many.
pub(super) fn parse(text: &str, max_series: usize) -> Result<Parsed, String> {
    if !text.is_empty() && !text.ends_with('\n') {
        return Err(
            "the last line is incomplete; end it with a newline, and replace the file by renaming a complete one"
                .to_owned(),
        );
    }
    let mut parser = Parser::default();
    for (number, line) in (1..).zip(text.lines()) {
        if number > MAX_LINES {
            return Err(format!("it has more than {MAX_LINES} lines; write fewer metrics"));
        }
        parser
            .add_line(line.trim_matches([' ', '\t', '\r']), number)
            .map_err(|reason| format!("line {number}: {reason}"))?;
        if parser.samples.len() > max_series {
            return Err(format!(
                "line {number}: the text files have more series than the maximum of {MAX_SERIES} together; write fewer metrics"
            ));
        }
    }
    Ok(parser.finish())
}

#[derive(Default)]
struct Parser {
    samples: Vec<ParsedSample>,
    seen: HashSet<(MetricName, Labels)>,
    /// The names of samples, of which comments must not follow.
    named: HashSet<String>,
    kinds: BTreeMap<String, DeclaredKind>,
    helps: BTreeMap<String, String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum DeclaredKind {
    Counter,
    Gauge,
    /// Each of its series is exported alone, as untyped, under the name that it has in the file.
    HistogramOrSummary,
    Untyped,
}

impl Parser {
    fn add_line(&mut self, line: &str, number: usize) -> Result<(), String> {
        match line.strip_prefix('#') {
            Some(comment) => self.add_comment(comment.trim_start()),
            None if line.is_empty() => Ok(()),
            None => self.add_sample(line, number),
        }
    }

    /// Comments other than HELP and TYPE have no meaning.
    fn add_comment(&mut self, comment: &str) -> Result<(), String> {
        let (keyword, rest) = comment.split_once([' ', '\t']).unwrap_or((comment, ""));
        if keyword != "HELP" && keyword != "TYPE" {
            return Ok(());
        }
        let rest = rest.trim_start();
        let (name, rest) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
        metric_name(name)?;
        if self.named.contains(name) {
            return Err(format!(
                "{keyword} follows the samples of its metric; write it before them"
            ));
        }
        let is_second = if keyword == "HELP" {
            let help = unescape(rest.trim_start(), false)?;
            self.helps.insert(name.to_owned(), cut_help(help)).is_some()
        } else {
            self.kinds.insert(name.to_owned(), kind(rest.trim())?).is_some()
        };
        if is_second {
            return Err(format!("its metric has a second {keyword}; write one"));
        }
        Ok(())
    }

    fn add_sample(&mut self, line: &str, number: usize) -> Result<(), String> {
        let is_end = |letter: char| letter == '{' || letter == ' ' || letter == '\t';
        let (name, rest) = line.split_at(line.find(is_end).unwrap_or(line.len()));
        let metric = metric_name(name)?;
        let rest = rest.trim_start();
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(inside) => labels(inside)?,
            None => (Vec::new(), rest),
        };
        if labels.iter().any(|(name, _)| name.starts_with("__")) {
            return Err("names of labels that begin with __ are reserved; use another name".to_owned());
        }
        let labels = Labels::new(labels).map_err(without_content)?;
        let mut words = rest.split_ascii_whitespace();
        let value: f64 = words
            .next()
            .and_then(|value| value.parse().ok())
            .ok_or("the value is missing or not a number; write one such as 1.5")?;
        if words.next().is_some() {
            return Err("a timestamp or other text follows the value; remove it".to_owned());
        }
        if !self.seen.insert((metric.clone(), labels.clone())) {
            return Err("the series is there twice with the same labels; write each series once".to_owned());
        }
        self.named.insert(name.to_owned());
        if let Some(family) = self.family(name) {
            self.named.insert(family.to_owned());
        }
        self.samples.push(ParsedSample {
            metric,
            labels,
            value,
            line: number,
        });
        Ok(())
    }

    /// The histogram or summary that a sample belongs to.
    fn family<'n>(&self, name: &'n str) -> Option<&'n str> {
        let is_declared = |name: &&str| self.kinds.get(*name) == Some(&DeclaredKind::HistogramOrSummary);
        let endings = ["_bucket", "_count", "_sum", ""];
        endings
            .iter()
            .filter_map(|ending| name.strip_suffix(ending))
            .find(is_declared)
    }

    fn finish(self) -> Parsed {
        let mut names: Vec<_> = self.samples.iter().map(|sample| sample.metric.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let families = names.into_iter().map(|name| {
            let family = self.family(name).unwrap_or(name);
            let kind = match self.kinds.get(family) {
                Some(DeclaredKind::Counter) => Kind::Counter,
                Some(DeclaredKind::Gauge) => Kind::Gauge,
                Some(DeclaredKind::HistogramOrSummary | DeclaredKind::Untyped) | None => Kind::Unknown,
            };
            DeclaredFamily {
                name: name.to_owned(),
                kind,
                help: self.helps.get(family).cloned().unwrap_or_default(),
            }
        });
        Parsed {
            families: families.collect(),
            samples: self.samples,
        }
    }
}

fn metric_name(name: &str) -> Result<MetricName, String> {
    MetricName::new(name).map_err(without_content)
}

/// What is wrong with a name or with labels, without the text.
fn without_content(error: MeasureError) -> String {
    match error {
        MeasureError::LabelTwice(_) => "a label is there twice; write each label once".to_owned(),
        MeasureError::LabelsTooLong { .. } => error.to_string(),
        MeasureError::MetricName(_) => format!("the name of the metric is invalid; {NAME_REMEDY}"),
        _ => format!("the name of a label is invalid; {NAME_REMEDY}"),
    }
}

const NAME_REMEDY: &str = "use letters, digits and _, no digit first, at most 200 bytes";

fn cut_help(help: String) -> String {
    if help.len() <= MAX_HELP_BYTES {
        return help;
    }
    let marker = "…";
    read::cut(&help, MAX_HELP_BYTES - marker.len()) + marker
}

fn kind(word: &str) -> Result<DeclaredKind, String> {
    match word {
        "counter" => Ok(DeclaredKind::Counter),
        "gauge" => Ok(DeclaredKind::Gauge),
        "histogram" | "summary" => Ok(DeclaredKind::HistogramOrSummary),
        "untyped" => Ok(DeclaredKind::Untyped),
        _ => Err("the type does not exist; write counter, gauge, histogram, summary or untyped".to_owned()),
    }
}

type LabelPairs = Vec<(String, String)>;

/// The labels up to the closing brace, and the text after it.
fn labels(mut rest: &str) -> Result<(LabelPairs, &str), String> {
    let wrong = || "labels are written as {name=\"value\",other=\"value\"}".to_owned();
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((labels, after));
        }
        let (name, after) = rest.split_once('=').ok_or_else(wrong)?;
        let quoted = after.trim_start().strip_prefix('"').ok_or_else(wrong)?;
        let end = closing_quote(quoted).ok_or_else(wrong)?;
        labels.push((name.trim().to_owned(), unescape(&quoted[..end], true)?));
        rest = quoted[end + 1..].trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.starts_with('}') => {}
            None => return Err(wrong()),
        }
    }
}

/// The position of the first quote that is not escaped.
fn closing_quote(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.char_indices().find_map(|(at, letter)| {
        let is_end = letter == '"' && !is_escaped;
        is_escaped = letter == '\\' && !is_escaped;
        is_end.then_some(at)
    })
}

fn unescape(text: &str, quotes: bool) -> Result<String, String> {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            plain.push(letter);
            continue;
        }
        match letters.next() {
            Some('\\') => plain.push('\\'),
            Some('n') => plain.push('\n'),
            Some('"') if quotes => plain.push('"'),
            // A help text is for people, so an odd backslash in it is no reason to reject the file.
            other if !quotes => plain.extend(['\\'].into_iter().chain(other)),
            _ => {
                return Err(
                    "a backslash in a label value is written as \\\\, a quote as \\\", a newline as \\n".to_owned(),
                );
            }
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Parsed, String> {
        parse(text, MAX_SERIES)
    }

    fn sample(line: usize, metric: &str, labels: &[(&str, &str)], value: f64) -> ParsedSample {
        ParsedSample {
            metric: MetricName::new(metric).expect("a legal name"),
            labels: Labels::new(labels.iter().copied()).expect("legal labels"),
            value,
            line,
        }
    }

    #[test]
    fn samples_have_labels_and_families_have_types_and_help_texts() {
        let parsed = parsed(
            "# HELP apt_upgrades_pending Pending\\nupgrades \\\\ by \"origin\".\n# TYPE apt_upgrades_pending gauge\n\
             apt_upgrades_pending{origin=\"Debian:12\",arch=\"a\\\"b\\\\c\\nd\"} 3\n\n# a comment\n#\n\
             backup_runs_total 1e3\nempty{} -0.5\n  spaced \t{ a = \"1\" , } \t+2 \r\n",
        )
        .expect("valid");
        assert_eq!(
            parsed.samples,
            [
                sample(
                    3,
                    "apt_upgrades_pending",
                    &[("origin", "Debian:12"), ("arch", "a\"b\\c\nd")],
                    3.0
                ),
                sample(7, "backup_runs_total", &[], 1000.0),
                sample(8, "empty", &[], -0.5),
                sample(9, "spaced", &[("a", "1")], 2.0),
            ]
        );
        let family = |name: &str, kind: Kind, help: &str| DeclaredFamily {
            name: name.to_owned(),
            kind,
            help: help.to_owned(),
        };
        assert_eq!(
            parsed.families,
            [
                family(
                    "apt_upgrades_pending",
                    Kind::Gauge,
                    "Pending\nupgrades \\ by \"origin\"."
                ),
                family("backup_runs_total", Kind::Unknown, ""),
                family("empty", Kind::Unknown, ""),
                family("spaced", Kind::Unknown, ""),
            ]
        );
    }

    #[test]
    fn the_series_of_a_histogram_are_untyped_and_share_its_help_text() {
        let parsed = parsed(
            "# TYPE took_seconds histogram\n# HELP took_seconds Duration.\ntook_seconds_bucket{le=\"1\"} 1\n\
             took_seconds_bucket{le=\"+Inf\"} 2\ntook_seconds_sum 3\ntook_seconds_count 2\n",
        )
        .expect("valid");
        let names: Vec<_> = parsed.families.iter().map(|family| family.name.as_str()).collect();
        assert_eq!(names, ["took_seconds_bucket", "took_seconds_count", "took_seconds_sum"]);
        for family in &parsed.families {
            assert_eq!((family.kind, family.help.as_str()), (Kind::Unknown, "Duration."));
        }
    }

    #[test]
    fn infinities_are_values() {
        let values = |text: &str| parsed(text).expect("valid").samples[0].value;
        assert!(values("x NaN\n").is_nan());
        assert_eq!(values("x +Inf\n"), f64::INFINITY);
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        for (text, expected) in [
            ("x 1", "the last line is incomplete"),
            ("x 1\ny", "the last line is incomplete"),
            ("x 1\ny\n", "line 2: the value is missing"),
            ("x one\n", "line 1: the value is missing or not a number"),
            ("x 1 1700000000000\n", "line 1: a timestamp or other text"),
            ("1x 1\n", "line 1: "),
            ("x-y 1\n", "line 1: "),
            ("{a=\"1\"} 1\n", "line 1: "),
            ("x{a=1} 1\n", "labels are written as"),
            ("x{a=\"1} 1\n", "labels are written as"),
            ("x{a=\"1\" b=\"2\"} 1\n", "labels are written as"),
            ("x{,} 1\n", "labels are written as"),
            ("x{a=\"1\"\n", "labels are written as"),
            ("x{a=\"\\t\"} 1\n", "a backslash in a label value"),
            ("x{1a=\"1\"} 1\n", "line 1: "),
            ("x{a=\"1\",a=\"2\"} 1\n", "line 1: "),
            ("x{__name__=\"up\"} 1\n", "labels that begin with __ are reserved"),
            (
                "x{a=\"1\",b=\"2\"} 1\nx{b=\"2\",a=\"1\"} 2\n",
                "line 2: the series is there twice",
            ),
            ("# TYPE x meter\n", "the type does not exist"),
            ("# TYPE x\n", "the type does not exist"),
            (
                "# TYPE x gauge\n# TYPE x gauge\n",
                "line 2: its metric has a second TYPE",
            ),
            ("# HELP x a\n# HELP x b\n", "line 2: its metric has a second HELP"),
            ("x 1\n# TYPE x gauge\n", "line 2: TYPE follows the samples"),
            ("# TYPE x-y gauge\n", "line 1: "),
        ] {
            let error = parsed(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn no_error_quotes_the_content() {
        let secret = "hunter2";
        for text in [
            "hunter2\n",
            "hunter2:x: y\n",
            "hunter2-x 1\n",
            "x hunter2\n",
            "x 1 hunter2\n",
            "x{hunter2=1} 1\n",
            "x{__hunter2=\"1\"} 1\n",
            "x{1hunter2=\"1\"} 1\n",
            "x{hunter2=\"1\",hunter2=\"2\"} 1\n",
            "x{a=\"hunter2\\t\"} 1\n",
            "hunter2 1\nhunter2 1\n",
            "# TYPE x hunter2\n",
            "# TYPE hunter2-x gauge\n",
            "# TYPE hunter2 gauge\n# TYPE hunter2 gauge\n",
            "hunter2 1\n# HELP hunter2 x\n",
            "hunter2",
        ] {
            let error = parsed(text).expect_err(text);
            assert!(!error.contains(secret), "{text}: {error}");
        }
    }

    #[test]
    fn the_number_of_lines_has_a_maximum() {
        let text = |lines: usize| "#\n".repeat(lines);
        assert!(parsed(&text(MAX_LINES)).is_ok());
        let error = parsed(&text(MAX_LINES + 1)).expect_err("one too many");
        assert!(error.contains("more than 10000 lines"), "{error}");
    }

    #[test]
    fn parsing_stops_at_the_first_series_that_is_too_many() {
        let error = |text: &str, max: usize| parse(text, max).err();
        assert_eq!(error("a 1\nb 1\n", 2), None);
        // The mistake in the last line is not reached.
        let error = error("a 1\nb 1\nc\n", 1).expect("one too many");
        assert!(
            error.starts_with("line 2: ") && error.contains("maximum of 2000"),
            "{error}"
        );
    }

    #[test]
    fn an_empty_file_is_valid() {
        assert_eq!(parsed("").expect("valid").samples, []);
    }

    #[test]
    fn a_help_text_has_a_maximum_length() {
        let help = |letter: &str, bytes: usize| {
            let text = format!("# HELP x {}\nx 1\n", letter.repeat(bytes / letter.len()));
            parsed(&text).expect("valid").families[0].help.clone()
        };
        assert_eq!(help("ü", MAX_HELP_BYTES), "ü".repeat(MAX_HELP_BYTES / 2));
        let cut = help("ü", MAX_HELP_BYTES + 2);
        assert!(cut.len() <= MAX_HELP_BYTES && cut.ends_with("ü…"), "{cut}");
    }
}
