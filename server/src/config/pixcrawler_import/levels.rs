//! The monitor's thresholds, which are all in one setting of ours: the levels of the threshold rule as they are by
//! default, with those in their place that a variable says. It judges nothing.

use std::path::Path;

use serde_json::{Value, json};

use super::LegacyValues;
use crate::config::errors::{ConfigError, ConfigErrors, quoted};
use crate::config::origin::Origin;
use crate::config::raw_settings::RawSettings;
use crate::config::sources::Variable;

/// The setting that holds all of them.
const KEY: &str = "rules.threshold";

/// What the threshold rule holds a metric to where nobody says anything.
struct Levels {
    metric: &'static str,
    /// What the monitor's variables for it begin with, if it had any.
    called: Option<&'static str>,
    warning: f64,
    alert: f64,
    missing: &'static str,
    /// Whether the monitor took whole numbers only.
    whole: bool,
}

const fn percent(metric: &'static str, called: Option<&'static str>, warning: f64, alert: f64) -> Levels {
    Levels {
        metric,
        called,
        warning,
        alert,
        missing: "unknown",
        whole: false,
    }
}

/// As `wasm-rules/threshold` has them; a test compares.
const DEFAULTS: [Levels; 5] = [
    percent("disk", Some("DISK"), 80.0, 90.0),
    percent("memory", Some("MEMORY"), 80.0, 90.0),
    Levels {
        missing: "optional",
        whole: true,
        ..percent("active_chunks", Some("CHUNK"), 35.0, 40.0)
    },
    percent("cpu", None, 90.0, 95.0),
    Levels {
        missing: "optional",
        ..percent("inodes", None, 80.0, 90.0)
    },
];

/// The monitor had no rules; this level is ours, and stays whatever its variables say.
const IGNORED_RULES: &str =
    "a rule kept failing and was quarantined; GET /api/v1/rules names it, and its audit log says how it failed";

pub(super) fn is_known(name: &str) -> bool {
    let mut called = DEFAULTS.iter().filter_map(|levels| levels.called);
    called.any(|called| name == warning_of(called) || name == alert_of(called))
}

fn warning_of(called: &str) -> String {
    format!("{called}_THRESHOLD_WARN")
}

fn alert_of(called: &str) -> String {
    format!("{called}_THRESHOLD_ALERT")
}

/// Fills the thresholds if nobody said any and a variable says one.
pub(super) fn fill(given: &mut RawSettings, said: &LegacyValues<'_>, folder: &Path, mistakes: &mut ConfigErrors) {
    if given.unset(KEY).is_none() {
        return;
    }
    let (mut thresholds, mut origins) = (Vec::new(), Vec::new());
    for levels in &DEFAULTS {
        let mut level = |name: String, default: f64| {
            let variable = said.find(&name, true);
            origins.extend(variable.map(|variable| variable.origin.clone()));
            Level::read(said.name_of(&name), default, variable, levels.whole, mistakes)
        };
        let warning = levels.called.map(|called| level(warning_of(called), levels.warning));
        let alert = levels.called.map(|called| level(alert_of(called), levels.alert));
        if let (Some(Some(warning)), Some(Some(alert))) = (&warning, &alert) {
            mistakes.extend(crossed(warning, alert));
        }
        let or = |read: Option<Option<Level>>, default: f64| read.flatten().map_or(default, |level| level.value);
        thresholds.push(json!({
            "metric": levels.metric,
            "warning": or(warning, levels.warning),
            "alert": or(alert, levels.alert),
            "missing": levels.missing,
        }));
    }
    thresholds.push(json!({
        "metric": "rules_quarantined",
        "warning": 1.0,
        "alert": 1.0,
        "missing": "optional",
        "sentence": IGNORED_RULES,
    }));
    let origin = match origins.len() {
        0 => return,
        1 => origins.remove(0),
        _ => Origin::Several(origins),
    };
    given.lay_value(KEY, Ok(json!({ "thresholds": thresholds })), origin, folder, mistakes);
}

/// A level, and who says it.
struct Level {
    value: f64,
    name: String,
    /// Nobody; it is the default.
    origin: Option<Origin>,
}

impl Level {
    /// Nothing is left of a text that is no number.
    fn read(
        name: String,
        default: f64,
        variable: Option<&Variable>,
        whole: bool,
        mistakes: &mut ConfigErrors,
    ) -> Option<Self> {
        let Some(variable) = variable else {
            return Some(Self {
                value: default,
                name,
                origin: None,
            });
        };
        let number = variable.text.trim().parse::<f64>().ok();
        let number = number.filter(|number| number.is_finite() && (!whole || number.fract() == 0.0));
        if number.is_none() {
            let wanted = if whole { "a whole number" } else { "a number" };
            let given = quoted(&Value::from(variable.text.as_str()));
            mistakes.push(mistake(
                &variable.origin,
                format!("{given} was given; write {wanted}, such as {default}"),
            ));
        }
        Some(Self {
            value: number?,
            name: variable.name.clone(),
            origin: Some(variable.origin.clone()),
        })
    }
}

/// A warning that comes after its alert would never be seen.
fn crossed(warning: &Level, alert: &Level) -> Option<ConfigError> {
    let origin = warning.origin.as_ref().or(alert.origin.as_ref())?;
    let told = |level: &Level| {
        let by = if level.origin.is_none() { " by default" } else { "" };
        format!("{} is {}{by}", level.name, level.value)
    };
    let remedy = format!(
        "{} and {}; let the warning level be below the alert level, and set both if need be",
        told(warning),
        told(alert)
    );
    (warning.value > alert.value).then(|| mistake(origin, remedy))
}

fn mistake(origin: &Origin, remedy: String) -> ConfigError {
    ConfigError {
        origin: origin.clone(),
        key: KEY.to_owned(),
        remedy,
    }
}
