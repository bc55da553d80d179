//! A threshold rule that misbehaves as its settings say, so that tests can check how the engine reports each
//! misbehaviour.

use serde::{Deserialize, Serialize};
use watchpost_rule::threshold::{Finding, Label, Manifest, Round, Rule, Severity, Subject};
use watchpost_rule::{Plan, Problem};

/// A threshold rule with one finding about `disk`, unless its settings select a misbehaviour.
pub struct Hostile;

watchpost_rule::threshold!(Hostile);

/// Selects the misbehaviour, and the rounds that it applies to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// The misbehaviour of `judge`.
    #[serde(default, rename = "do")]
    way: Way,
    /// The number of findings or bytes, for the misbehaviours that have one.
    #[serde(default)]
    count: usize,
    /// The misbehaviour of `check-settings`; it happens before the settings are checked.
    #[serde(default)]
    check: Way,
    /// The host that the misbehaviour of `judge` applies to; empty for all hosts.
    #[serde(default)]
    on: String,
    /// The start of the misbehaviour of `judge`, in milliseconds since 1970 (UTC).
    #[serde(default)]
    from_ms: u64,
}

/// The ways to misbehave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Behave: one finding about the metric `disk` as a whole.
    #[default]
    Well,
    /// Loop forever.
    Loop,
    /// Allocate memory until the limit is reached.
    Grow,
    /// Allocate `count` bytes, and behave.
    Take,
    /// Recurse without end.
    Recurse,
    /// Recurse without end, with data on the guest's own stack in each call.
    RecurseWithBaggage,
    /// Trap without a message.
    Trap,
    /// Panic with a message.
    Panic,
    /// Panic with a message of `count` bytes.
    PanicAtLength,
    /// Return an error.
    GiveUp,
    /// `count` findings, each about a series that was shown.
    ManyFindings,
    /// One finding whose message has `count` bytes.
    LongMessage,
    /// `count` findings that all name the same large text.
    OneTextManyTimes,
    /// A finding about a metric that is not measured.
    UnknownMetric,
    /// A finding about a measured metric with labels that no series has.
    UnknownLabels,
    /// The same subject twice.
    Twice,
    /// A label named twice.
    LabelTwice,
    /// A value that is not a number.
    Nan,
    /// A limit that is infinite.
    Infinite,
    /// An alert without a message.
    Silent,
    /// An alert with a message of control characters and white space only.
    Invisible,
    /// A finding about a series that is not measured: without a value in one round, with a value in the next.
    InventLater,
    /// A finding without a value about that series in each round.
    Miss,
    /// A plan with an invalid metric pattern.
    InvalidPlan,
    /// Return the findings of the last round.
    Echo,
}

impl Settings {
    /// Whether the misbehaviour applies to this round.
    fn apply_to(&self, round: &Round) -> bool {
        (self.on.is_empty() || self.on == round.host) && round.time_ms >= self.from_ms
    }
}

impl Rule for Hostile {
    type Settings = Settings;
    type Prepared<'p> = Settings;

    fn describe() -> Manifest {
        Manifest {
            name: "hostile".to_owned(),
            version: "1".to_owned(),
            description: "Misbehaves as its settings say.".to_owned(),
            settings_schema: "{}".to_owned(),
        }
    }

    fn plan(settings: Settings) -> Result<Plan, Vec<Problem>> {
        misbehave(settings.check, settings.count);
        let metric = match settings.check {
            Way::InvalidPlan => "no*t",
            _ => "disk",
        };
        Ok(Plan::new([metric], &settings))
    }

    fn judge(round: Round, settings: Settings) -> Result<Vec<Finding>, String> {
        let (way, count) = if settings.apply_to(&round) {
            (settings.way, settings.count)
        } else {
            (Way::Well, 0)
        };
        misbehave(way, count);
        let disk = finding("disk", Severity::Ok, "");
        Ok(match way {
            Way::GiveUp => return Err("no basis for a judgement".to_owned()),
            Way::ManyFindings => {
                let series = round.metrics[0].samples.iter().take(count);
                series
                    .map(|sample| about(disk.clone(), sample.labels.clone()))
                    .collect()
            }
            Way::LongMessage => vec![finding("disk", Severity::Alert, &"x".repeat(count))],
            Way::OneTextManyTimes => same_text(count),
            Way::UnknownMetric => vec![with_value(finding("unicorns", Severity::Alert, "made up"), 1.0)],
            Way::UnknownLabels => {
                let labels = vec![label("mountpoint", "/no/such/place")];
                vec![with_value(
                    about(finding("disk", Severity::Alert, "made up"), labels),
                    1.0,
                )]
            }
            Way::Twice => vec![disk.clone(), disk],
            Way::LabelTwice => vec![about(disk, vec![label("a", "1"), label("a", "2")])],
            Way::Nan => vec![with_value(disk, f64::NAN)],
            Way::Infinite => vec![Finding {
                limit: Some(f64::INFINITY),
                ..disk
            }],
            Way::Silent => vec![finding("disk", Severity::Alert, " ")],
            Way::Invisible => vec![finding("disk", Severity::Alert, " \u{1}")],
            Way::InventLater | Way::Miss => {
                let labels = vec![label("mountpoint", "/invented")];
                let invented = about(finding("disk", Severity::Unknown, "it is not there"), labels);
                vec![match (way, round.last.as_slice()) {
                    (Way::InventLater, [_, ..]) => with_value(invented, 99.0),
                    _ => invented,
                }]
            }
            Way::Echo => round.last,
            _ => vec![disk],
        })
    }
}

fn misbehave(way: Way, count: usize) {
    match way {
        Way::Loop => spin(),
        Way::Grow => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(std::hint::black_box(vec![1u8; 1 << 20]));
            }
        }
        Way::Take => {
            std::hint::black_box(vec![1u8; count]);
        }
        Way::Recurse => {
            std::hint::black_box(recurse(std::hint::black_box(0)));
        }
        Way::RecurseWithBaggage => {
            std::hint::black_box(recurse_with_baggage(0));
        }
        #[cfg(target_arch = "wasm32")]
        Way::Trap => core::arch::wasm32::unreachable(),
        Way::Panic => panic!("the disk of {} is on fire", "edge-1"),
        Way::PanicAtLength => panic!("{}", "long ".repeat(count)),
        _ => {}
    }
}

fn spin() {
    let mut turns = 0u64;
    loop {
        turns = std::hint::black_box(turns + 1);
    }
}

/// The result of each call is used, so that the compiler makes neither a loop nor a tail call of the recursion.
#[inline(never)]
fn recurse(depth: u64) -> u64 {
    if depth == u64::MAX {
        return 0;
    }
    recurse(depth + 1).wrapping_mul(3) ^ depth
}

#[inline(never)]
#[expect(unconditional_recursion, reason = "the tests need a guest that overflows its stack")]
fn recurse_with_baggage(depth: u64) -> u64 {
    let baggage = std::hint::black_box([depth; 16]);
    recurse_with_baggage(depth + 1) ^ baggage[3]
}

/// Findings that share one text of 1 MiB: small in the guest's memory, large once the host copies each text.
fn same_text(count: usize) -> Vec<Finding> {
    let text: &'static str = "x".repeat(1 << 20).leak();
    let again = |_| {
        let mut finding = finding("disk", Severity::Alert, "");
        finding.message = borrowed(text);
        finding
    };
    (0..count).map(again).collect()
}

#[expect(
    unsafe_code,
    reason = "many strings share one text; the guest's allocator never frees memory"
)]
fn borrowed(text: &'static str) -> String {
    // SAFETY: sound only inside an instance, where no memory is ever freed; the host never calls this function.
    unsafe { String::from_raw_parts(text.as_ptr().cast_mut(), text.len(), text.len()) }
}

fn finding(metric: &str, severity: Severity, message: &str) -> Finding {
    Finding {
        subject: Subject {
            metric: metric.to_owned(),
            labels: Vec::new(),
        },
        severity,
        value: None,
        limit: None,
        message: message.to_owned(),
    }
}

fn about(mut finding: Finding, labels: Vec<Label>) -> Finding {
    finding.subject.labels = labels;
    finding
}

fn with_value(mut finding: Finding, value: f64) -> Finding {
    finding.value = Some(value);
    finding
}

fn label(name: &str, value: &str) -> Label {
    Label {
        name: name.to_owned(),
        value: value.to_owned(),
    }
}
