//! Parses JSON into a value, and rejects an object that sets a field twice: which of the two counts would be a guess.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Parses JSON. The error says where it is invalid.
pub(in crate::api) fn parse(text: &[u8]) -> Result<Value, String> {
    let place = RefCell::new(Place::default());
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Strict(&place).deserialize(&mut deserializer);
    let value = value.and_then(|value| deserializer.end().map(|()| value));
    value.map_err(|error| match place.take().duplicate {
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

/// The longest part of a name in an error.
const MAX_NAME_CHARS: usize = 40;

/// Where the parser is. The pointer is written only for an error, because a body may have a million values.
#[derive(Default)]
struct Place {
    parts: Vec<Part>,
    /// The JSON Pointer of the first field that is set twice.
    duplicate: Option<String>,
}

enum Part {
    Item(usize),
    Field(String),
}

impl Place {
    fn pointer(&self) -> String {
        let part = |part: &Part| match part {
            Part::Item(at) => format!("/{at}"),
            Part::Field(name) => {
                let name: String = name.chars().take(MAX_NAME_CHARS).collect();
                format!("/{}", name.replace('~', "~0").replace('/', "~1"))
            }
        };
        self.parts.iter().map(part).collect()
    }
}

/// Deserializes the value at a place.
#[derive(Clone, Copy)]
struct Strict<'p>(&'p RefCell<Place>);

impl Strict<'_> {
    fn enter(self, part: Part) {
        self.0.borrow_mut().parts.push(part);
    }

    fn leave(self) -> Option<Part> {
        self.0.borrow_mut().parts.pop()
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
        loop {
            self.enter(Part::Item(values.len()));
            let value = items.next_element_seed(self)?;
            self.leave();
            match value {
                Some(value) => values.push(value),
                None => return Ok(Value::Array(values)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            let is_duplicate = values.contains_key(&name);
            self.enter(Part::Field(name));
            if is_duplicate {
                let mut place = self.0.borrow_mut();
                place.duplicate = Some(place.pointer());
                return Err(A::Error::custom("duplicate"));
            }
            let value = fields.next_value_seed(self)?;
            if let Some(Part::Field(name)) = self.leave() {
                values.insert(name, value);
            }
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
    fn a_long_name_is_not_copied_for_each_of_many_values() {
        let text = format!("{{\"{}\":[{}0]}}", "k".repeat(500_000), "0,".repeat(250_000));
        let started = std::time::Instant::now();
        assert!(parse(text.as_bytes()).is_ok());
        assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
        let twice = format!("{{\"{0}\":1,\"{0}\":2}}", "k".repeat(500_000));
        let error = parse(twice.as_bytes()).expect_err("it is set twice");
        assert!(error.len() < 100, "{}", error.len());
    }

    #[test]
    fn nesting_has_a_limit() {
        let text = "[".repeat(100_000);
        assert!(parse(text.as_bytes()).is_err());
    }
}
