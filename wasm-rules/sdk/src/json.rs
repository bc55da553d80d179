//! Reads settings from JSON. A mistake has its place as a JSON Pointer and a message in the operator's terms; the
//! messages of Serde name Rust types and a line of text that the operator may never have seen. It knows no setting.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Value};

use crate::settings::{Problem, pointer};

/// Longer texts of the operator are truncated in messages.
const MAX_QUOTED_CHARS: usize = 60;

/// Reads a type from JSON.
pub(crate) fn read<T: DeserializeOwned>(value: &Value) -> Result<T, Problem> {
    let place = Place { above: None, name: "" };
    T::deserialize(Reader { value, place: &place }).map_err(|Mistake { path, message }| Problem {
        path: path.unwrap_or_default(),
        message,
    })
}

/// The place of a value: its name in the value above.
#[derive(Clone, Copy)]
struct Place<'p> {
    above: Option<&'p Place<'p>>,
    name: &'p str,
}

impl<'p> Place<'p> {
    fn of<'n>(&'n self, name: &'n str) -> Place<'n>
    where
        'p: 'n,
    {
        Place {
            above: Some(self),
            name,
        }
    }

    fn pointer(&self) -> String {
        match self.above {
            Some(above) => format!("{}/{}", above.pointer(), pointer(self.name)),
            None => String::new(),
        }
    }

    /// The innermost place of a mistake counts.
    fn mark<T>(&self, result: Result<T, Mistake>) -> Result<T, Mistake> {
        result.map_err(|mistake| Mistake {
            path: mistake.path.or_else(|| Some(self.pointer())),
            message: mistake.message,
        })
    }
}

#[derive(Debug)]
struct Mistake {
    path: Option<String>,
    message: String,
}

impl Mistake {
    fn new(message: String) -> Self {
        Self { path: None, message }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Mistake {}

impl Error for Mistake {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let message = message.to_string();
        if message.starts_with("data did not match any variant") {
            return Self::new("this has none of the forms that the rule accepts; see its settings schema".to_owned());
        }
        Self::new(message)
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("write {}, not {}", wanted(expected), shown(unexpected)))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::new(format!("write {}, not {length} elements", wanted(expected)))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let variant = shown(Unexpected::Str(variant));
        Self::new(format!("{variant} is not possible; write one of {}", list(expected)))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("unknown setting `{field}`; use one of {}", list(expected)))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("{field} is required"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new(format!("{field} is set twice"))
    }
}

fn list(names: &[&str]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// A value of the operator.
fn shown(unexpected: Unexpected<'_>) -> String {
    match unexpected {
        Unexpected::Bool(value) => value.to_string(),
        Unexpected::Unsigned(value) => value.to_string(),
        Unexpected::Signed(value) => value.to_string(),
        Unexpected::Float(value) => value.to_string(),
        Unexpected::Str(text) => match text.char_indices().nth(MAX_QUOTED_CHARS) {
            Some((end, _)) => format!("\"{}…\"", &text[..end]),
            None => format!("{text:?}"),
        },
        Unexpected::Unit | Unexpected::Option => "null".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "an object".to_owned(),
        other => other.to_string(),
    }
}

/// What a type accepts. Serde's own types have Rust's names; a type with a visitor of its own has its own words.
fn wanted(expected: &dyn Expected) -> String {
    let expected = expected.to_string();
    let known = match expected.as_str() {
        "a string" | "str" | "string" => "a text",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "an object",
        "f32" | "f64" => "a number",
        "i8" | "i16" | "i32" | "i64" | "isize" => "an integer",
        "u8" | "u16" | "u32" | "u64" | "usize" => "an integer that is not negative",
        "string or map" => "a name",
        other if other.starts_with("struct ") => "an object",
        other if other.starts_with("enum ") => "a name",
        other => other,
    };
    known.to_owned()
}

/// A value at its place.
struct Reader<'de, 'p> {
    value: &'de Value,
    place: &'p Place<'p>,
}

impl<'de> Reader<'de, '_> {
    fn visit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(number), ..) => visitor.visit_u64(number),
                (_, Some(number), _) => visitor.visit_i64(number),
                (.., number) => visitor.visit_f64(number.unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(items) => visitor.visit_seq(Items {
                items: items.iter(),
                at: 0,
                place: self.place,
            }),
            Value::Object(members) => visitor.visit_map(Members::new(members, self.place)),
        }
    }
}

impl<'de> Deserializer<'de> for Reader<'de, '_> {
    type Error = Mistake;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        let place = self.place;
        place.mark(self.visit(visitor))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        let place = self.place;
        place.mark(match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Mistake> {
        let place = self.place;
        place.mark(visitor.visit_newtype_struct(self))
    }

    /// A unit variant is a text, and another one an object whose only member is the variant.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        let place = self.place;
        place.mark(match self.value {
            Value::String(text) => {
                let variant: StrDeserializer<'_, Mistake> = text.as_str().into_deserializer();
                visitor.visit_enum(variant)
            }
            Value::Object(members) if members.len() == 1 => {
                visitor.visit_enum(MapAccessDeserializer::new(Members::new(members, place)))
            }
            _ => self.visit(visitor),
        })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

struct Items<'de, 'p> {
    items: std::slice::Iter<'de, Value>,
    at: usize,
    place: &'p Place<'p>,
}

impl<'de> SeqAccess<'de> for Items<'de, '_> {
    type Error = Mistake;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Mistake> {
        let Some(value) = self.items.next() else {
            return Ok(None);
        };
        let name = self.at.to_string();
        self.at += 1;
        let place = &self.place.of(&name);
        seed.deserialize(Reader { value, place }).map(Some)
    }
}

struct Members<'de, 'p> {
    members: serde_json::map::Iter<'de>,
    /// The member whose name was read last.
    current: Option<(&'de str, &'de Value)>,
    place: &'p Place<'p>,
}

impl<'de, 'p> Members<'de, 'p> {
    fn new(members: &'de Map<String, Value>, place: &'p Place<'p>) -> Self {
        Self {
            members: members.iter(),
            current: None,
            place,
        }
    }
}

impl<'de> MapAccess<'de> for Members<'de, '_> {
    type Error = Mistake;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Mistake> {
        let Some((name, value)) = self.members.next() else {
            return Ok(None);
        };
        self.current = Some((name, value));
        // The name is borrowed from the value, as the text of a value is.
        let name = serde::de::value::BorrowedStrDeserializer::new(name);
        self.place
            .of(self.current.map_or("", |(name, _)| name))
            .mark(seed.deserialize(name))
            .map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Mistake> {
        let (name, value) = self.current.take().expect("Serde reads a name before its value");
        let place = &self.place.of(name);
        seed.deserialize(Reader { value, place })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Everything {
        text: String,
        #[serde(default)]
        numbers: Vec<f64>,
        count: Option<u32>,
        #[serde(default)]
        kinds: BTreeMap<String, Kind>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        Plain,
        Sized { size: i64 },
        Named(String),
    }

    #[test]
    fn settings_are_read_as_serde_json_reads_them() {
        let settings = json!({
            "text": "a",
            "numbers": [1, -2, 3.5],
            "count": 7,
            "kinds": {"a": "plain", "b": {"sized": {"size": -4}}, "c": {"named": "x"}},
        });
        let expected: Everything = serde_json::from_value(settings.clone()).expect("it is right");
        assert_eq!(read::<Everything>(&settings).expect("it is right"), expected);
        let nothing = json!({"text": "", "count": null});
        assert_eq!(read::<Everything>(&nothing).expect("it is right").count, None);
    }

    #[test]
    fn a_mistake_has_its_place_and_no_word_of_rust() {
        let check = |settings: Value, path: &str, message: &str| {
            let problem = read::<Everything>(&settings).expect_err("refused");
            assert_eq!((problem.path.as_str(), problem.message.as_str()), (path, message));
        };
        check(json!({}), "", "text is required");
        check(json!({"text": 5}), "/text", "write a text, not 5");
        check(
            json!({"text": "", "numbers": [1, "two"]}),
            "/numbers/1",
            "write a number, not \"two\"",
        );
        check(
            json!({"text": "", "numbers": {}}),
            "/numbers",
            "write a list, not an object",
        );
        check(
            json!({"text": "", "count": -1}),
            "/count",
            "write an integer that is not negative, not -1",
        );
        check(
            json!({"text": "", "cuont": 1}),
            "/cuont",
            "unknown setting `cuont`; use one of `text`, `numbers`, `count`, `kinds`",
        );
        check(
            json!({"text": "", "kinds": {"a/b": "plian"}}),
            "/kinds/a~1b",
            "\"plian\" is not possible; write one of `plain`, `sized`, `named`",
        );
        check(
            json!({"text": "", "kinds": {"a": {"sized": {"size": "big"}}}}),
            "/kinds/a/sized/size",
            "write an integer, not \"big\"",
        );
        check(
            json!({"text": "", "kinds": {"a": {"sized": {}}}}),
            "/kinds/a/sized",
            "size is required",
        );
        check(json!({"text": "", "kinds": 5}), "/kinds", "write an object, not 5");
    }

    #[test]
    fn a_long_text_is_truncated_in_a_message() {
        let problem = read::<Everything>(&json!({"text": "", "count": "ä".repeat(100)})).expect_err("refused");
        assert!(
            problem.message.ends_with("ä…\"") && problem.message.chars().count() < 120,
            "{}",
            problem.message
        );
    }
}
