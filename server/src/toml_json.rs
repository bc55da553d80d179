//! Converts TOML text to JSON values, the form in which settings are merged and passed to rules. An error names the
//! line and does not repeat the text, which may contain secrets.

use serde_json::{Map, Value};

use crate::one_line::one_line;

/// A TOML document as a JSON object.
pub(crate) fn object_from_toml(text: &str) -> Result<Map<String, Value>, String> {
    match from_toml(text)? {
        Value::Object(table) => Ok(table),
        other => Err(format!("expected a table, got {other}")),
    }
}

pub(crate) fn from_toml(text: &str) -> Result<Value, String> {
    let table: toml::Table = toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = 1 + text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count();
        format!("line {line} is not TOML: {}", one_line(error.message()))
    })?;
    Ok(json(toml::Value::Table(table)))
}

/// Times become text, and so do NaN and infinity, so that validation reports them where a number is expected.
fn json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) if number.is_finite() => number.into(),
        toml::Value::Float(number) => number.to_string().into(),
        toml::Value::Boolean(truth) => truth.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(list) => list.into_iter().map(json).collect(),
        toml::Value::Table(table) => Value::Object(table.into_iter().map(|(key, value)| (key, json(value))).collect()),
    }
}
