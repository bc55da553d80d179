//! Imports the monitor's threshold variables into `rules.threshold`: a threshold for each metric with a variable. It
//! replaces the default for this metric; the other defaults of the threshold rule remain.

use std::path::Path;

use serde_json::{Value, json};

use super::LegacyValues;
use crate::config::errors::{ConfigError, ConfigErrors, quoted};
use crate::config::origin::Origin;
use crate::config::raw_settings::RawSettings;
use crate::config::sources::Variable;

/// The setting with all levels.
const KEY: &str = "rules.threshold";

/// The default levels of a metric with variables.
struct Levels {
    metric: &'static str,
    /// The prefix of the monitor's variables.
    prefix: &'static str,
    warning: f64,
    alert: f64,
    missing: &'static str,
    /// Whether the monitor accepted only integers.
    whole: bool,
}

const fn percent(metric: &'static str, prefix: &'static str, warning: f64, alert: f64) -> Levels {
    Levels {
        metric,
        prefix,
        warning,
        alert,
        missing: "unknown",
        whole: false,
    }
}

/// The defaults of `wasm-rules/threshold` for these metrics; a test compares them. Of two variables, one may be set.
const DEFAULTS: [Levels; 3] = [
    percent("disk", "DISK", 80.0, 90.0),
    percent("memory", "MEMORY", 80.0, 90.0),
    Levels {
        missing: "optional",
        whole: true,
        ..percent("active_chunks", "CHUNK", 35.0, 40.0)
    },
];

pub(super) fn is_known(name: &str) -> bool {
    let mut prefixes = DEFAULTS.iter().map(|levels| levels.prefix);
    prefixes.any(|prefix| name == warning_of(prefix) || name == alert_of(prefix))
}

fn warning_of(prefix: &str) -> String {
    format!("{prefix}_THRESHOLD_WARN")
}

fn alert_of(prefix: &str) -> String {
    format!("{prefix}_THRESHOLD_ALERT")
}

/// Fills the thresholds if no other layer sets them and at least one variable is set.
pub(super) fn fill(given: &mut RawSettings, legacy: &LegacyValues<'_>, folder: &Path, errors: &mut ConfigErrors) {
    if given.unset(KEY).is_none() {
        return;
    }
    let (mut thresholds, mut origins) = (Vec::new(), Vec::new());
    for levels in &DEFAULTS {
        let mut is_set = false;
        let mut level = |name: String, default: f64| {
            let variable = legacy.find(&name, true);
            is_set |= variable.is_some();
            origins.extend(variable.map(|variable| variable.origin.clone()));
            Level::read(legacy.name_of(&name), default, variable, levels.whole, errors)
        };
        let warning = level(warning_of(levels.prefix), levels.warning);
        let alert = level(alert_of(levels.prefix), levels.alert);
        if !is_set {
            continue;
        }
        if let (Some(warning), Some(alert)) = (&warning, &alert) {
            errors.extend(crossed(warning, alert));
        }
        thresholds.push(json!({
            "metric": levels.metric,
            "warning": warning.map_or(levels.warning, |level| level.value),
            "alert": alert.map_or(levels.alert, |level| level.value),
            "missing": levels.missing,
        }));
    }
    let origin = match origins.len() {
        0 => return,
        1 => origins.remove(0),
        _ => Origin::Several(origins),
    };
    given.set_value(KEY, Ok(json!({ "thresholds": thresholds })), origin, folder, errors);
}

/// A level and its origin.
struct Level {
    value: f64,
    name: String,
    /// `None` for the default.
    origin: Option<Origin>,
}

impl Level {
    /// `None` after an error, if the text is not a number.
    fn read(
        name: String,
        default: f64,
        variable: Option<&Variable>,
        whole: bool,
        errors: &mut ConfigErrors,
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
            let expected = if whole { "an integer" } else { "a number" };
            let given = quoted(&Value::from(variable.text.as_str()));
            errors.push(config_error(
                &variable.origin,
                format!("{given} was given; write {expected}, such as {default}"),
            ));
        }
        Some(Self {
            value: number?,
            name: variable.name.clone(),
            origin: Some(variable.origin.clone()),
        })
    }
}

/// A warning level above its alert level would never be reached.
fn crossed(warning: &Level, alert: &Level) -> Option<ConfigError> {
    let origin = warning.origin.as_ref().or(alert.origin.as_ref())?;
    let describe = |level: &Level| {
        let suffix = if level.origin.is_none() { " by default" } else { "" };
        format!("{} is {}{suffix}", level.name, level.value)
    };
    let remedy = format!(
        "{} and {}; set the warning level to at most the alert level",
        describe(warning),
        describe(alert)
    );
    (warning.value > alert.value).then(|| config_error(origin, remedy))
}

fn config_error(origin: &Origin, remedy: String) -> ConfigError {
    ConfigError {
        origin: origin.clone(),
        key: KEY.to_owned(),
        remedy,
    }
}
