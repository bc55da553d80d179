//! Serialization of settings: the operator's JSON is parsed once, when settings are checked; each later call gets a
//! binary form that is read in a fraction of the time. The content of the settings is up to the rule.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A problem in the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The location as a JSON Pointer, such as `/thresholds/0/alert`; empty for the settings as a whole.
    pub path: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl Problem {
    /// A problem at this JSON Pointer.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }
}

/// Escapes a name as one part of a JSON Pointer.
pub fn pointer(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// The result of checked settings: the metrics to show the rule, and the settings in their binary form.
pub struct Plan {
    pub(crate) metrics: Vec<String>,
    pub(crate) settings: Vec<u8>,
    pub(crate) effective_settings: Option<String>,
}

impl Plan {
    /// A plan for these metrics: names, or prefixes of names followed by `*`. A threshold rule is shown their samples,
    /// a role rule the findings about them that are not ok. Each call gets `prepared` as its `Prepared`.
    pub fn new<M: Into<String>>(metrics: impl IntoIterator<Item = M>, prepared: &impl Serialize) -> Self {
        Self {
            metrics: metrics.into_iter().map(Into::into).collect(),
            settings: prepare(prepared),
            effective_settings: None,
        }
    }

    /// Adds the settings that are active, with defaults filled in. A server shows them to operators as JSON; what is null is
    /// left out.
    #[must_use]
    pub fn with_effective_settings(mut self, settings: &impl Serialize) -> Self {
        self.effective_settings = Some(shown(settings));
        self
    }
}

/// Settings as JSON, without members that are null.
fn shown(settings: &impl Serialize) -> String {
    fn without_nulls(value: Value) -> Value {
        match value {
            Value::Object(members) => {
                let set = members.into_iter().filter(|(_, value)| !value.is_null());
                Value::Object(set.map(|(name, value)| (name, without_nulls(value))).collect())
            }
            Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
            other => other,
        }
    }
    // As in `prepare`, no settings of an operator make this fail.
    let settings = serde_json::to_value(settings).expect("the settings are serializable");
    without_nulls(settings).to_string()
}

/// Parses the operator's JSON. Only an object is accepted: Serde reads a list as a struct too, so `[]` would silently
/// mean the defaults.
pub(crate) fn read<S: DeserializeOwned>(json: &str) -> Result<S, Vec<Problem>> {
    if !json.trim_start().starts_with('{') {
        return Err(vec![Problem::new("", "the settings must be a JSON object: {…}")]);
    }
    let value: Value = serde_json::from_str(json).map_err(|error| {
        let text = error.to_string();
        vec![Problem::new("", format!("the settings are not valid JSON: {text}"))]
    })?;
    crate::json::read(&value).map_err(|problem| vec![problem])
}

/// Serializes settings in the binary form that [`prepared`] reads.
fn prepare<P: Serialize>(settings: &P) -> Vec<u8> {
    // Serialization fails only for a type with a faulty `Serialize`, which no settings of an operator can cause.
    postcard::to_allocvec(settings).expect("the settings are serializable")
}

/// Deserializes settings that [`prepare`] wrote.
pub(crate) fn prepared<'p, P: Deserialize<'p>>(settings: &'p [u8]) -> Result<P, String> {
    postcard::from_bytes(settings).map_err(|error| format!("cannot read the prepared settings: {error}"))
}
