//! What an operator may write about thresholds, what is wrong with it, and the sentence that a finding says.

use serde::{Deserialize, Serialize};
use watchpost_rule::Problem;
use watchpost_rule::pattern::{PLAIN, Pattern};
use watchpost_rule::threshold::{Finding, Gap, Label, Metric, Sample, Severity, Subject};

/// The settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// In the order in which they are tried.
    #[serde(default = "defaults")]
    pub thresholds: Vec<Threshold>,
}

/// Levels for one metric, or for some of its series.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// A name, or a pattern with `*`.
    pub metric: Pattern,
    /// Patterns that the labels have to match; none means any.
    #[serde(default)]
    pub labels: std::collections::BTreeMap<String, Pattern>,
    /// Which way is bad.
    #[serde(default)]
    pub direction: Direction,
    /// Whether the level itself is bad already.
    #[serde(default = "yes")]
    pub inclusive: bool,
    /// Someone should look soon.
    pub warning: Option<Level>,
    /// Someone should look now.
    pub alert: Option<Level>,
    /// What a finding says; `None` is a sentence of our own.
    pub sentence: Option<String>,
    /// What it means when the metric is not there.
    #[serde(default)]
    pub missing: Missing,
    /// Whether series that are ok are passed over; for metrics with very many of them.
    #[serde(default)]
    pub quiet: bool,
}

/// Where it begins to be bad, and where it is good again.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
pub enum Level {
    /// Both at one value.
    At(f64),
    /// Left at another value than entered, so that it does not flutter.
    Apart {
        /// Where it begins.
        enter: f64,
        /// Where it ends.
        clear: f64,
    },
}

/// Which way is bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The higher the worse.
    #[default]
    Above,
    /// The lower the worse.
    Below,
}

/// What it means when a metric is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// Nothing to worry about.
    Ok,
    /// Nobody knows.
    #[default]
    Unknown,
    /// Someone should look soon.
    Warning,
    /// Someone should look now.
    Alert,
}

/// A threshold as it is judged by: checked, and with every default filled in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Judged {
    pub(crate) metric: Pattern,
    labels: Vec<(String, Pattern)>,
    pub(crate) direction: Direction,
    inclusive: bool,
    warning: Option<Edge>,
    alert: Option<Edge>,
    sentence: Option<String>,
    missing: Missing,
    pub(crate) quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Edge {
    enter: f64,
    clear: f64,
}

fn yes() -> bool {
    true
}

fn defaults() -> Vec<Threshold> {
    [
        ("disk", 80.0, 90.0),
        ("memory", 80.0, 90.0),
        ("active_chunks", 35.0, 40.0),
        ("cpu", 90.0, 95.0),
        ("inodes", 80.0, 90.0),
    ]
    .map(|(metric, warning, alert)| Threshold {
        metric: Pattern::new(metric),
        labels: Default::default(),
        direction: Direction::Above,
        inclusive: true,
        warning: Some(Level::At(warning)),
        alert: Some(Level::At(alert)),
        sentence: None,
        missing: Missing::Unknown,
        quiet: false,
    })
    .into()
}

impl Settings {
    pub(crate) fn judged(self) -> Result<Vec<Judged>, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut judged = Vec::new();
        for (at, threshold) in self.thresholds.into_iter().enumerate() {
            judged.push(threshold.judged(&format!("/thresholds/{at}"), &mut problems));
        }
        if problems.is_empty() { Ok(judged) } else { Err(problems) }
    }
}

impl Threshold {
    fn judged(self, place: &str, problems: &mut Vec<Problem>) -> Judged {
        let warning = self.warning.map(Level::edge);
        let alert = self.alert.map(Level::edge);
        let worse = |value: f64, than: f64| match self.direction {
            Direction::Above => value > than,
            Direction::Below => value < than,
        };
        let towards = match self.direction {
            Direction::Above => "below",
            Direction::Below => "above",
        };
        let mut wrong = |field: &str, what: String| problems.push(Problem::new(format!("{place}{field}"), what));
        if self.metric.as_str().is_empty() {
            wrong("/metric", "name a metric".to_owned());
        }
        if warning.is_none() && alert.is_none() {
            wrong("", "set a warning level, an alert level, or both".to_owned());
        }
        for (field, edge) in [("/warning", warning), ("/alert", alert)] {
            if let Some(Edge { enter, clear }) = edge.filter(|edge| worse(edge.clear, edge.enter)) {
                wrong(
                    field,
                    format!("it is left at {clear} and entered at {enter}: leave it {towards} where it is entered"),
                );
            }
        }
        let crossed = warning
            .zip(alert)
            .filter(|(warning, alert)| worse(warning.enter, alert.enter));
        if let Some((Edge { enter: warning, .. }, Edge { enter: alert, .. })) = crossed {
            wrong(
                "/warning",
                format!("the warning level {warning} has to be {towards} the alert level {alert}"),
            );
        }
        if let Some(unknown) = self.sentence.as_deref().and_then(unknown_word) {
            let words = WORDS.join("}, {");
            wrong(
                "/sentence",
                format!("{{{unknown}}} is nothing to fill in; use {{{words}}} or {{label.NAME}}"),
            );
        }
        Judged {
            metric: self.metric,
            labels: self.labels.into_iter().collect(),
            direction: self.direction,
            inclusive: self.inclusive,
            warning,
            alert,
            sentence: self.sentence,
            missing: self.missing,
            quiet: self.quiet,
        }
    }
}

impl Level {
    fn edge(self) -> Edge {
        match self {
            Self::At(level) => Edge {
                enter: level,
                clear: level,
            },
            Self::Apart { enter, clear } => Edge { enter, clear },
        }
    }
}

impl Judged {
    pub(crate) fn selects(&self, labels: &[Label]) -> bool {
        self.labels.iter().all(|(name, pattern)| {
            let label = labels.iter().find(|label| label.name == *name);
            label.is_some_and(|label| pattern.matches(&label.value, PLAIN))
        })
    }

    /// The labels that it selects by a plain value.
    pub(crate) fn exact_labels(&self) -> Vec<Label> {
        let exact = |(name, pattern): &(String, Pattern)| {
            Some(Label {
                name: name.clone(),
                value: pattern.exact()?.to_owned(),
            })
        };
        self.labels.iter().filter_map(exact).collect()
    }

    /// A level is entered at one value and left at another, so what was said before matters; but only of this
    /// level: another threshold's alert, or a missing series, has entered nothing here.
    pub(crate) fn severity(&self, value: f64, before: Option<&Finding>) -> Severity {
        let entered = |edge: Option<Edge>, severity| {
            before.is_some_and(|before| before.severity == severity && before.limit == edge.map(|edge| edge.enter))
        };
        let holds = |edge: Option<Edge>, entered: bool| {
            edge.is_some_and(|edge| self.beyond(value, edge.enter) || (entered && self.beyond(value, edge.clear)))
        };
        let in_alert = entered(self.alert, Severity::Alert);
        if holds(self.alert, in_alert) {
            Severity::Alert
        } else if holds(self.warning, in_alert || entered(self.warning, Severity::Warning)) {
            Severity::Warning
        } else {
            Severity::Ok
        }
    }

    fn beyond(&self, value: f64, level: f64) -> bool {
        let strictly = match self.direction {
            Direction::Above => value > level,
            Direction::Below => value < level,
        };
        strictly || (self.inclusive && value == level)
    }

    pub(crate) fn finding(&self, metric: &Metric, sample: &Sample, severity: Severity) -> Finding {
        let edge = match severity {
            Severity::Alert => self.alert,
            _ => self.warning.or(self.alert),
        };
        let limit = edge.map(|edge| edge.enter);
        let told = Told {
            metric: &metric.name,
            unit: &metric.unit,
            labels: &sample.labels,
            value: sample.value,
            limit,
            severity,
        };
        let sentence = match (&self.sentence, severity) {
            (_, Severity::Ok) => String::new(),
            (Some(template), _) => told.fill(template),
            (None, _) => match edge.filter(|edge| !self.beyond(sample.value, edge.enter)) {
                Some(edge) => told.not_yet_cleared(self.direction, edge.clear),
                None => told.plainly(self.direction, self.inclusive),
            },
        };
        Finding {
            subject: Subject {
                metric: metric.name.clone(),
                labels: sample.labels.clone(),
            },
            severity,
            value: Some(sample.value),
            limit,
            sentence: cut(sentence),
        }
    }

    /// Nothing, where nobody minds.
    pub(crate) fn absence(&self, subject: Subject, gap: Option<&Gap>) -> Option<Finding> {
        let severity = match self.missing {
            Missing::Ok => return None,
            Missing::Unknown => Severity::Unknown,
            Missing::Warning => Severity::Warning,
            Missing::Alert => Severity::Alert,
        };
        let what = series(&subject.metric, &subject.labels);
        let sentence = match gap {
            Some(gap) => format!("{what} could not be measured: {}: {}", gap.source, gap.reason),
            None => format!("{what} is not measured here; check that its source is switched on"),
        };
        Some(Finding {
            subject,
            severity,
            value: None,
            limit: None,
            sentence,
        })
    }
}

const WORDS: [&str; 6] = ["subject", "metric", "value", "unit", "limit", "severity"];

/// What a sentence may speak of.
struct Told<'f> {
    metric: &'f str,
    unit: &'f str,
    labels: &'f [Label],
    value: f64,
    limit: Option<f64>,
    severity: Severity,
}

impl Told<'_> {
    fn plainly(&self, direction: Direction, inclusive: bool) -> String {
        let side = match (direction, inclusive) {
            (Direction::Above, true) => "at or above",
            (Direction::Above, false) => "above",
            (Direction::Below, true) => "at or below",
            (Direction::Below, false) => "below",
        };
        let [subject, value, limit, severity] = ["subject", "value", "limit", "severity"].map(|word| self.word(word));
        let unit = self.spaced_unit();
        format!("{subject} is {value}{unit}, {side} the {severity} level of {limit}{unit}")
    }

    fn not_yet_cleared(&self, direction: Direction, clear: f64) -> String {
        let side = match direction {
            Direction::Above => "below",
            Direction::Below => "above",
        };
        let [subject, value, severity] = ["subject", "value", "severity"].map(|word| self.word(word));
        let unit = self.spaced_unit();
        let clear = short(clear);
        format!("{subject} is {value}{unit}, not yet {side} {clear}{unit}, where the {severity} ends")
    }

    fn spaced_unit(&self) -> String {
        match self.unit {
            "" => String::new(),
            "percent" => " %".to_owned(),
            unit => format!(" {unit}"),
        }
    }

    fn fill(&self, template: &str) -> String {
        let mut filled = String::with_capacity(template.len() + 32);
        let mut rest = template;
        while let Some((before, word, after)) = next_word(rest) {
            filled.push_str(before);
            filled.push_str(&self.word(word));
            rest = after;
        }
        filled + rest
    }

    fn word(&self, word: &str) -> String {
        if let Some(name) = word.strip_prefix("label.") {
            let label = self.labels.iter().find(|label| label.name == name);
            return label.map_or_else(String::new, |label| label.value.clone());
        }
        match word {
            "subject" => series(self.metric, self.labels),
            "metric" => self.metric.to_owned(),
            "value" => short(self.value),
            "unit" => self.unit.to_owned(),
            "limit" => self.limit.map(short).unwrap_or_default(),
            "severity" => match self.severity {
                Severity::Ok => "ok",
                Severity::Unknown => "unknown",
                Severity::Warning => "warning",
                Severity::Alert => "alert",
            }
            .to_owned(),
            _ => String::new(),
        }
    }
}

/// The text before the next `{word}`, the word, and the text after it.
fn next_word(template: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = template.split_once('{')?;
    let (word, after) = rest.split_once('}')?;
    Some((before, word, after))
}

fn unknown_word(template: &str) -> Option<&str> {
    let mut rest = template;
    while let Some((_, word, after)) = next_word(rest) {
        if !WORDS.contains(&word) && !word.starts_with("label.") {
            return Some(word);
        }
        rest = after;
    }
    None
}

/// The host takes no longer ones, and a label may be long.
fn cut(mut sentence: String) -> String {
    const LONGEST: usize = 1500;
    if sentence.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|end| sentence.is_char_boundary(*end));
        sentence.truncate(end.unwrap_or(0));
        sentence.push('…');
    }
    sentence
}

/// Two decimals are what a person reads.
fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    text.to_owned()
}

fn series(metric: &str, labels: &[Label]) -> String {
    if labels.is_empty() {
        return metric.to_owned();
    }
    let labels: Vec<_> = labels
        .iter()
        .map(|label| format!("{}={:?}", label.name, label.value))
        .collect();
    format!("{metric}{{{}}}", labels.join(","))
}
