//! Turns the text of a configuration file into a tree. TOML or YAML is told by the extension; what the keys
//! mean is not known here.

use std::path::Path;

use serde_json::{Map, Value};

use super::mistakes::one_line;

/// Reads the file. An error is what is wrong and what to do, with the parser's line where it does not parse.
pub(super) fn read(file: &Path) -> Result<Map<String, Value>, String> {
    let extension = file
        .extension()
        .map(|extension| extension.to_string_lossy().to_lowercase());
    let parse = match extension.as_deref() {
        Some("toml") => from_toml,
        Some("yaml" | "yml") => from_yaml,
        _ => return Err("its name does not say what it is; let it end in .toml, .yaml or .yml".to_owned()),
    };
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("it cannot be read: {error}; name a file that exists and is readable"))?;
    match parse(&text)? {
        Value::Object(tree) => Ok(tree),
        // What is left of a file of which all is commented out.
        Value::Null => Ok(Map::new()),
        _ => Err("it is not a table; write sections with keys, as docs/CONFIGURATION.md shows".to_owned()),
    }
}

/// The settings of a rule, where they have a file of their own.
pub(crate) fn settings_of_toml(text: &str) -> Result<Map<String, Value>, String> {
    match from_toml(text)? {
        Value::Object(table) => Ok(table),
        other => Err(format!("it is no table but {other}")),
    }
}

fn from_toml(text: &str) -> Result<Value, String> {
    let table: toml::Table = toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = 1 + text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count();
        format!("line {line} is not TOML: {}", one_line(error.message()))
    })?;
    Ok(json(toml::Value::Table(table)))
}

/// `off` is a word of ours and stays one. Errors come without an excerpt of the text, which may hold secrets.
fn from_yaml(text: &str) -> Result<Value, String> {
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().map_or(1, |location| location.line());
        format!("line {line} is not YAML: {}", one_line(&error.to_string()))
    })
}

/// Times become text, and so do numbers that are none: whoever asked for a number will say so.
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_languages_say_the_same() {
        let toml = from_toml("[a]\nlist = [1, 2.5]\nword = \"off\"\nday = 2027-01-31\n[[b]]\nyes = true\n");
        let yaml = from_yaml("a:\n  list: [1, 2.5]\n  word: off\n  day: 2027-01-31\nb:\n- yes: true\n");
        let meant = json!({"a": {"list": [1, 2.5], "word": "off", "day": "2027-01-31"}, "b": [{"yes": true}]});
        assert_eq!(toml, Ok(meant.clone()));
        assert_eq!(yaml, Ok(meant));
    }

    #[test]
    fn what_does_not_parse_is_told_by_its_line() {
        let toml = from_toml("a = 1\nb = = 2\n").expect_err("no TOML");
        assert!(toml.starts_with("line 2 is not TOML: "), "{toml}");
        let yaml = from_yaml("a: 1\nb: [1\n").expect_err("no YAML");
        assert!(yaml.starts_with("line ") && !yaml.contains('\n'), "{yaml}");
        let twice = from_yaml("a: 1\na: 2\n").expect_err("a key twice");
        assert!(twice.starts_with("line 2 "), "{twice}");
    }

    #[test]
    fn a_parser_that_complains_does_not_repeat_the_text() {
        for broken in ["token: hunter2\n  b: [1\n", "token: hunter2\n\"x"] {
            assert!(!from_yaml(broken).expect_err("no YAML").contains("hunter2"));
        }
        for broken in ["token = \"hunter2\nb = 1\n", "token = hunter2\n"] {
            assert!(!from_toml(broken).expect_err("no TOML").contains("hunter2"));
        }
    }
}
