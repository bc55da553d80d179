//! Serialization of settings: the operator's JSON is parsed once, when settings are checked; each later call gets a
//! binary form that is read in a fraction of the time. The content of the settings is up to the rule.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

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
}

impl Plan {
    /// A plan for these metrics: names, or prefixes of names followed by `*`. A threshold rule is shown their samples,
    /// a role rule the findings about them that are not ok. Each call gets `prepared` as its `Prepared`.
    pub fn new<M: Into<String>>(metrics: impl IntoIterator<Item = M>, prepared: &impl Serialize) -> Self {
        Self {
            metrics: metrics.into_iter().map(Into::into).collect(),
            settings: prepare(prepared),
        }
    }
}

/// Parses the operator's JSON. Only an object is accepted: Serde reads a list as a struct too, so `[]` would silently
/// mean the defaults.
pub(crate) fn read<S: DeserializeOwned>(json: &str) -> Result<S, Vec<Problem>> {
    if !json.trim_start().starts_with('{') {
        return Err(vec![Problem::new("", "the settings must be a JSON object: {…}")]);
    }
    serde_json::from_str(json).map_err(|error| vec![Problem::new("", error.to_string())])
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
