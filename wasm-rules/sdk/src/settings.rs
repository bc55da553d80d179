//! How settings travel: JSON from the operator, once, and from then on a form that is read back in a fraction
//! of the time. It does not know what the settings mean.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A mistake in the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, as a JSON Pointer: `/thresholds/0/alert`. Empty for the whole.
    pub at: String,
    /// What is wrong and what to write instead.
    pub what: String,
}

impl Problem {
    /// A mistake at a place.
    pub fn new(at: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            at: at.into(),
            what: what.into(),
        }
    }
}

/// A name as a part of a JSON Pointer.
pub fn pointer(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// What a rule will do under its settings.
pub struct Plan {
    pub(crate) metrics: Vec<String>,
    pub(crate) settings: Vec<u8>,
}

impl Plan {
    /// Shows the rule these metrics (names, or beginnings of names followed by `*`), or what is not ok about
    /// them, and gives what is written here back to it as its `Prepared`.
    pub fn new<M: Into<String>>(metrics: impl IntoIterator<Item = M>, prepared: &impl Serialize) -> Self {
        Self {
            metrics: metrics.into_iter().map(Into::into).collect(),
            settings: prepare(prepared),
        }
    }
}

/// Reads the operator's JSON. Serde would take a list for a struct too, field by field; `[]` would silently be
/// the defaults.
pub(crate) fn read<S: DeserializeOwned>(json: &str) -> Result<S, Vec<Problem>> {
    if !json.trim_start().starts_with('{') {
        return Err(vec![Problem::new("", "the settings are a JSON object: {…}")]);
    }
    serde_json::from_str(json).map_err(|error| vec![Problem::new("", error.to_string())])
}

/// Writes settings in the form in which [`prepared`] reads them.
fn prepare<P: Serialize>(settings: &P) -> Vec<u8> {
    // Only a type that writes itself wrongly is refused here: that is the author's mistake, not the operator's.
    postcard::to_allocvec(settings).expect("settings can be written")
}

/// Reads what [`prepare`] wrote.
pub(crate) fn prepared<'p, P: Deserialize<'p>>(settings: &'p [u8]) -> Result<P, String> {
    postcard::from_bytes(settings).map_err(|error| format!("the prepared settings cannot be read back: {error}"))
}
