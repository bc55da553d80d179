//! Parses JSON into a value, and rejects an object that sets a field twice: which of the two counts would be a guess.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Parses JSON. The error says where it is invalid.
pub(super) fn parse(text: &[u8]) -> Result<Value, String> {
    let duplicate = RefCell::new(None);
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let seed = Strict {
        place: String::new(),
        duplicate: &duplicate,
    };
    let value = seed.deserialize(&mut deserializer);
    let value = value.and_then(|value| deserializer.end().map(|()| value));
    value.map_err(|error| match duplicate.take() {
        Some(place) => format!("{place} is set twice; set it once"),
        None if error.is_eof() && text.iter().all(u8::is_ascii_whitespace) => "the body is empty; send JSON".to_owned(),
        None if error.is_eof() => "the body ends in the middle of the JSON; send it completely".to_owned(),
        None => format!(
            "the body is not valid JSON at line {}, column {}; send valid JSON",
            error.line(),
            error.column()
        ),
    })
}

/// A value at a JSON Pointer.
#[derive(Clone)]
struct Strict<'d> {
    place: String,
    duplicate: &'d RefCell<Option<String>>,
}

impl Strict<'_> {
    fn within(&self, part: &str) -> Self {
        let part = part.replace('~', "~0").replace('/', "~1");
        Self {
            place: format!("{}/{part}", self.place),
            duplicate: self.duplicate,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(self.within(&values.len().to_string()))? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            let inner = self.within(&name);
            if values.contains_key(&name) {
                *self.duplicate.borrow_mut() = Some(inner.place);
                return Err(A::Error::custom("duplicate"));
            }
            let value = fields.next_value_seed(inner)?;
            values.insert(name, value);
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn valid_json_is_parsed_as_it_is() {
        let text = r#" {"a": [1, -2, 2.5, null, true, "x"], "b": {"c": {}}} "#;
        assert_eq!(
            parse(text.as_bytes()),
            Ok(json!({"a": [1, -2, 2.5, null, true, "x"], "b": {"c": {}}}))
        );
    }

    #[test]
    fn an_error_says_where_it_is() {
        let check = |text: &str, expected: &str| assert_eq!(parse(text.as_bytes()), Err(expected.to_owned()), "{text}");
        check("", "the body is empty; send JSON");
        check(
            "{\"a\": 1",
            "the body ends in the middle of the JSON; send it completely",
        );
        check(
            "{\n a: 1}",
            "the body is not valid JSON at line 2, column 2; send valid JSON",
        );
        check(
            "{} {}",
            "the body is not valid JSON at line 1, column 4; send valid JSON",
        );
        check(r#"{"a": 1, "a": 1}"#, "/a is set twice; set it once");
        check(
            r#"[{"x/y": {"a": 1, "b": 2, "a": 3}}]"#,
            "/0/x~1y/a is set twice; set it once",
        );
    }

    #[test]
    fn nesting_has_a_limit() {
        let text = "[".repeat(100_000);
        assert!(parse(text.as_bytes()).is_err());
    }
}
