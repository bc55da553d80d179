//! Renders settings as TOML: the effective ones with their origins, or all of them with their descriptions.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use super::declare::{Field, Leaf, Shape};
use super::origin::Origin;
use super::setting::dotted_on;
use crate::one_line::one_line;

/// The comment next to each setting.
pub(super) enum Comments<'a> {
    /// The origin of its value.
    Origins(&'a BTreeMap<String, Origin>),
    /// Its description and type.
    Meanings,
}

/// Writes a table: first the values, then the nested tables and lists of tables, as TOML requires.
pub(super) fn toml_text(fields: &[Field], values: &Value, key: &str, comments: &Comments<'_>, text: &mut String) {
    for field in fields {
        if let Shape::Leaf(leaf) = &field.shape
            && leaf.fields_of_each.is_empty()
        {
            let key = dotted_on(key, field.name);
            value_line(field, leaf, &values[field.name], &key, comments, text);
        }
    }
    for field in fields {
        let key = dotted_on(key, field.name);
        match &field.shape {
            Shape::Table(below) => {
                heading(field, text, comments);
                line(text, format_args!("[{key}]"));
                toml_text(below, &values[field.name], &key, comments, text);
            }
            Shape::Leaf(leaf) if !leaf.fields_of_each.is_empty() => {
                heading(field, text, comments);
                list_of_tables(leaf, &values[field.name], &key, comments, text);
            }
            Shape::Leaf(_) => {}
        }
    }
}

fn heading(field: &Field, text: &mut String, comments: &Comments<'_>) {
    if !text.is_empty() {
        text.push('\n');
    }
    if matches!(comments, Comments::Meanings) {
        comment(&field.meaning, text);
    }
}

fn list_of_tables(leaf: &Leaf, values: &Value, key: &str, comments: &Comments<'_>, text: &mut String) {
    let origin = match comments {
        Comments::Origins(origins) => origin_comment(key, origins),
        Comments::Meanings => String::new(),
    };
    let items = values.as_array().map_or(&[][..], Vec::as_slice);
    if items.is_empty() {
        line(text, format_args!("# [[{key}]]{origin}"));
        for field in &leaf.fields_of_each {
            if let Shape::Leaf(leaf) = &field.shape {
                value_line(field, leaf, &Value::Null, field.name, comments, text);
            }
        }
    }
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            text.push('\n');
        }
        line(text, format_args!("[[{key}]]{origin}"));
        // Only the first item has descriptions.
        let comments = match comments {
            Comments::Meanings if at == 0 => &Comments::Meanings,
            _ => &Comments::Origins(&BTreeMap::new()),
        };
        toml_text(&leaf.fields_of_each, item, key, comments, text);
    }
}

/// A setting without a value is commented out and shows its type.
fn value_line(field: &Field, leaf: &Leaf, value: &Value, key: &str, comments: &Comments<'_>, text: &mut String) {
    let origin = match comments {
        Comments::Origins(origins) => origin_comment(key, origins),
        Comments::Meanings => {
            comment(&format!("{} ({})", field.meaning, leaf.written_as()), text);
            String::new()
        }
    };
    let name = field.name;
    match (value, written(value)) {
        (Value::Null, _) => line(text, format_args!("# {name} = ({}){origin}", leaf.kind)),
        (_, Some(value)) => line(text, format_args!("{name} = {value}{origin}")),
        // A map from JSON or YAML may contain what TOML cannot express, such as null.
        (value, None) => line(text, format_args!("# {name} = {value}{origin}")),
    }
}

fn origin_comment(key: &str, origins: &BTreeMap<String, Origin>) -> String {
    let origin = origins.get(key);
    origin.map_or_else(String::new, |origin| format!("  # {}", one_line(&origin.to_string())))
}

/// A value on one line; `None` if TOML cannot express it.
fn written(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Bool(truth) => Some(truth.to_string()),
        // TOML integers are signed 64-bit.
        Value::Number(number) => (number.is_i64() || number.is_f64()).then(|| number.to_string()),
        Value::String(text) => Some(quoted(text)),
        Value::Array(items) => {
            let items = items.iter().map(written).collect::<Option<Vec<_>>>()?;
            Some(format!("[{}]", items.join(", ")))
        }
        Value::Object(table) => {
            let pairs = table
                .iter()
                .map(|(key, value)| Some(format!("{} = {}", quoted(key), written(value)?)));
            let pairs = pairs.collect::<Option<Vec<_>>>()?;
            Some(if pairs.is_empty() {
                "{}".to_owned()
            } else {
                format!("{{ {} }}", pairs.join(", "))
            })
        }
    }
}

/// TOML escapes as JSON does, and DEL in addition.
fn quoted(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// The comment width of the generated file, in characters.
const WIDTH: usize = 100;

fn comment(meaning: &str, text: &mut String) {
    let mut width = 0;
    for word in meaning.split(' ') {
        if width > 0 && width + word.len() > WIDTH {
            text.push('\n');
            width = 0;
        }
        text.push_str(if width == 0 { "# " } else { " " });
        text.push_str(word);
        width += word.len() + 1;
    }
    text.push('\n');
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a String takes all that is written");
}
