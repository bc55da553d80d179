//! Parses a configuration file, TOML or YAML by its extension, into a tree of values. It does not know the
//! settings.

use std::path::Path;

use serde_json::{Map, Value};

use crate::one_line::one_line;
use crate::toml_json::from_toml;

/// Reads the file. The error says what is wrong and what to do, with the parser's line if the file does not
/// parse.
pub(super) fn read(file: &Path) -> Result<Map<String, Value>, String> {
    let extension = file
        .extension()
        .map(|extension| extension.to_string_lossy().to_lowercase());
    let parse = match extension.as_deref() {
        Some("toml") => from_toml,
        Some("yaml" | "yml") => from_yaml,
        _ => return Err("unknown file type; use a name that ends in .toml, .yaml or .yml".to_owned()),
    };
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("cannot read the file: {error}; name an existing, readable file"))?;
    match parse(&text)? {
        Value::Object(tree) => Ok(tree),
        // A file in which everything is commented out.
        Value::Null => Ok(Map::new()),
        _ => Err("the file is not a table; write sections with keys, as docs/CONFIGURATION.md shows".to_owned()),
    }
}

/// Strict booleans, because `off` is a value of some settings. Errors have no excerpt of the text, which may
/// contain secrets.
fn from_yaml(text: &str) -> Result<Value, String> {
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().map_or(1, |location| location.line());
        format!("line {line} is not YAML: {}", one_line(&error.to_string()))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn toml_and_yaml_are_equivalent() {
        let toml = from_toml("[a]\nlist = [1, 2.5]\nword = \"off\"\nday = 2027-01-31\n[[b]]\nyes = true\n");
        let yaml = from_yaml("a:\n  list: [1, 2.5]\n  word: off\n  day: 2027-01-31\nb:\n- yes: true\n");
        let meant = json!({"a": {"list": [1, 2.5], "word": "off", "day": "2027-01-31"}, "b": [{"yes": true}]});
        assert_eq!(toml, Ok(meant.clone()));
        assert_eq!(yaml, Ok(meant));
    }

    #[test]
    fn a_parse_error_names_its_line() {
        let toml = from_toml("a = 1\nb = = 2\n").expect_err("no TOML");
        assert!(toml.starts_with("line 2 is not TOML: "), "{toml}");
        let yaml = from_yaml("a: 1\nb: [1\n").expect_err("no YAML");
        assert!(yaml.starts_with("line ") && !yaml.contains('\n'), "{yaml}");
        let twice = from_yaml("a: 1\na: 2\n").expect_err("a key twice");
        assert!(twice.starts_with("line 2 "), "{twice}");
    }

    #[test]
    fn a_parse_error_does_not_repeat_the_text() {
        for broken in ["token: hunter2\n  b: [1\n", "token: hunter2\n\"x"] {
            assert!(!from_yaml(broken).expect_err("no YAML").contains("hunter2"));
        }
        for broken in ["token = \"hunter2\nb = 1\n", "token = hunter2\n"] {
            assert!(!from_toml(broken).expect_err("no TOML").contains("hunter2"));
        }
    }
}
