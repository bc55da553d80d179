//! `watchpost rules show`: shows one rule of a server, with its settings and its versions.

use std::io::Write;

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::{CheckResult, CommandError};
use super::change::Line;
use super::{Named, Remote, or_dash, short, written};
use crate::cli::client::ApiRequest;
use crate::cli::table::columns;
use crate::store::rules::Mode;

/// Shows a rule.
#[derive(Args)]
pub(in crate::cli::rules) struct Show {
    #[command(flatten)]
    rule: Named,
    #[command(flatten)]
    remote: Remote,
}

/// A rule of a server.
#[derive(Deserialize)]
pub(super) struct RuleDetail {
    name: String,
    kind: String,
    description: String,
    pub(super) active: Vec<VersionInUse>,
    versions: Vec<Version>,
}

/// A version that takes part, with its settings.
#[derive(Deserialize)]
pub(super) struct VersionInUse {
    #[serde(flatten)]
    pub(super) line: Line,
    /// The stored settings; null if there are none.
    settings: Value,
    settings_origin: SettingsOrigin,
    settings_updated_by: Option<String>,
    #[serde(
        rename = "settings_updated_at",
        default,
        with = "watchpost_policies::rfc3339::option"
    )]
    settings_updated_ms: Option<i64>,
    effective_settings: Option<Value>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SettingsOrigin {
    Default,
    Configuration,
    Api,
}

/// The words for settings that no one has set.
const DEFAULT: &str = "built-in default";

impl VersionInUse {
    /// The settings that are active; the stored ones if the rule does not show its defaults.
    pub(super) fn effective(&self) -> Value {
        let stored = Some(&self.settings).filter(|settings| !settings.is_null());
        let effective = self.effective_settings.as_ref().or(stored);
        effective.cloned().unwrap_or_else(|| json!({}))
    }

    /// The origin of the stored settings: the configuration, or a client and the day.
    fn origin(&self) -> String {
        let by = self.settings_updated_by.as_deref().unwrap_or("-");
        match (self.settings_origin, self.settings_updated_ms) {
            (SettingsOrigin::Default, _) => DEFAULT.to_owned(),
            (SettingsOrigin::Configuration, _) => "configuration".to_owned(),
            (SettingsOrigin::Api, Some(at)) => format!("API, by {by}, {}", written(at)),
            (SettingsOrigin::Api, None) => format!("API, by {by}"),
        }
    }

    /// The settings that are active and the origin of each. A map may be set in part.
    pub(super) fn origins(&self) -> Vec<(String, String, Value)> {
        let effective = self.effective();
        let members = effective.as_object().into_iter().flatten();
        let with_origin = |(name, value): (&String, &Value)| {
            let origin = match self.settings.get(name) {
                None => DEFAULT.to_owned(),
                Some(Value::Object(set)) if value.as_object().is_some_and(|all| all.len() > set.len()) => {
                    format!("{}; the rest {DEFAULT}", self.origin())
                }
                Some(_) => self.origin(),
            };
            (name.clone(), origin, value.clone())
        };
        members.map(with_origin).collect()
    }
}

#[derive(Deserialize)]
struct Version {
    digest: String,
    version: String,
    bytes: u64,
    /// Missing for a built-in rule.
    #[serde(rename = "uploaded_at", default, with = "watchpost_policies::rfc3339::option")]
    uploaded_ms: Option<i64>,
    uploaded_by: String,
    note: String,
}

impl Show {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<CheckResult, CommandError> {
        let response = self
            .remote
            .client()?
            .send_checked(ApiRequest::get(self.rule.path("")))
            .await?;
        self.remote.print(out, &response, as_text)
    }
}

fn as_text(rule: RuleDetail) -> String {
    let RuleDetail {
        name,
        kind,
        description,
        ..
    } = &rule;
    let mut text = format!("{name}, a {kind} rule\n{description}\n\n");
    for VersionInUse { line, .. } in &rule.active {
        let role = match line.mode {
            Mode::Active => "active   ",
            Mode::Shadow => "in shadow",
        };
        text += &format!("{role}  {} ({})\n", line.version, short(&line.digest));
    }
    if rule.active.is_empty() {
        text += "the rule is not in use\n";
    }
    for part in &rule.active {
        let rows = part.origins().into_iter();
        let rows = rows.map(|(name, origin, value)| [name, origin, value.to_string()]);
        let rows: Vec<_> = [["SETTING", "ORIGIN", "VALUE"].map(str::to_owned)]
            .into_iter()
            .chain(rows)
            .collect();
        if rows.len() > 1 {
            text += &format!("\n{}", columns(&rows));
        }
    }
    let heading = ["DIGEST", "VERSION", "BYTES", "UPLOADED", "BY", "NOTE"].map(str::to_owned);
    let rows = rule.versions.iter().map(|version| {
        [
            short(&version.digest).to_owned(),
            version.version.clone(),
            version.bytes.to_string(),
            version.uploaded_ms.map_or_else(|| "-".to_owned(), written),
            version.uploaded_by.clone(),
            or_dash(&version.note),
        ]
    });
    let rows: Vec<_> = [heading].into_iter().chain(rows).collect();
    format!("{text}\n{}", columns(&rows))
}
