//! Compares a JSON value with an OpenAPI schema, and describes the first differences. It is used only after a value could
//! not be deserialized, so it explains an error and never decides.

use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

/// The longest excerpt of a value in an error.
const MAX_EXCERPT_CHARS: usize = 40;
/// One request may have thousands of wrong fields.
const MAX_DIFFERENCES: usize = 5;

/// A schema and the schemas that it refers to.
pub(super) struct SchemaSet {
    root: Value,
    named: Map<String, Value>,
}

impl SchemaSet {
    /// The schema of a type.
    pub(super) fn of<T: ToSchema>() -> Self {
        let mut schemas = Vec::new();
        T::schemas(&mut schemas);
        let named = schemas.into_iter().map(|(name, schema)| (name, value(&schema)));
        Self {
            root: value(&T::schema()),
            named: named.collect(),
        }
    }

    /// The differences between a value and the schema, each with its JSON Pointer. `place` is the pointer of the value.
    pub(super) fn differences(&self, found: &Value, place: &str) -> Vec<String> {
        let mut differences = Vec::new();
        self.compare(&self.root, found, place, &mut differences);
        differences.truncate(MAX_DIFFERENCES);
        differences
    }

    fn compare(&self, schema: &Value, found: &Value, place: &str, differences: &mut Vec<String>) {
        if differences.len() >= MAX_DIFFERENCES {
            return;
        }
        let schema = self.resolved(schema);
        let alternatives = alternatives(schema);
        if !alternatives.is_empty() {
            return self.compare_alternatives(&alternatives, found, place, differences);
        }
        if !has_type(schema, found) || !is_within(schema, found) {
            let expected = self.expected(schema);
            differences.push(format!("{}: expected {expected}, got {}", shown(place), excerpt(found)));
            return;
        }
        match found {
            Value::Array(items) => {
                let Some(schema) = schema.get("items") else { return };
                for (at, item) in items.iter().enumerate() {
                    if differences.len() >= MAX_DIFFERENCES {
                        return;
                    }
                    self.compare(schema, item, &format!("{place}/{at}"), differences);
                }
            }
            Value::Object(fields) => self.compare_fields(schema, fields, place, differences),
            _ => {}
        }
    }

    /// If one alternative has the type of the value, only its differences help.
    fn compare_alternatives(&self, all: &[&Value], found: &Value, place: &str, differences: &mut Vec<String>) {
        let mut of_type = all.iter().filter(|schema| has_type(self.resolved(schema), found));
        if let (Some(schema), None) = (of_type.next(), of_type.next()) {
            return self.compare(schema, found, place, differences);
        }
        let matches = |schema: &&Value| {
            let mut wrong = Vec::new();
            self.compare(schema, found, place, &mut wrong);
            wrong.is_empty()
        };
        if !all.iter().any(matches) {
            let expected: Vec<_> = all.iter().map(|schema| self.expected(self.resolved(schema))).collect();
            let expected = expected.join(" or ");
            differences.push(format!("{}: expected {expected}, got {}", shown(place), excerpt(found)));
        }
    }

    fn compare_fields(&self, schema: &Value, fields: &Map<String, Value>, place: &str, differences: &mut Vec<String>) {
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
            return;
        };
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        for name in required.filter_map(Value::as_str) {
            if !fields.contains_key(name) {
                let expected = properties.get(name).map(|schema| self.expected(self.resolved(schema)));
                let expected = expected.unwrap_or_else(|| "a value".to_owned());
                differences.push(format!("{place}/{name} is missing; write {expected}"));
            }
        }
        let is_closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
        for (name, found) in fields {
            if differences.len() >= MAX_DIFFERENCES {
                return;
            }
            let place = format!("{place}/{}", escaped(name));
            match properties.get(name) {
                Some(schema) => self.compare(schema, found, &place, differences),
                None if is_closed => differences.push(unknown(&place, name, properties)),
                None => {}
            }
        }
    }

    fn resolved<'s>(&'s self, schema: &'s Value) -> &'s Value {
        let name = schema.get("$ref").and_then(Value::as_str);
        let name = name.and_then(|reference| reference.rsplit('/').next());
        name.and_then(|name| self.named.get(name)).unwrap_or(schema)
    }

    fn expected(&self, schema: &Value) -> String {
        let alternatives = alternatives(schema);
        if !alternatives.is_empty() {
            let all: Vec<_> = alternatives
                .iter()
                .map(|one| self.expected(self.resolved(one)))
                .collect();
            return all.join(" or ");
        }
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            let values: Vec<_> = values.iter().map(Value::to_string).collect();
            return match &values[..] {
                [value] => value.clone(),
                values => format!("one of {}", values.join(", ")),
            };
        }
        let types: Vec<_> = types(schema).into_iter().map(|name| describe(name, schema)).collect();
        match types.is_empty() {
            true => "a value of another form".to_owned(),
            false => types.join(" or "),
        }
    }
}

fn value(schema: &RefOr<Schema>) -> Value {
    serde_json::to_value(schema).expect("a schema is JSON")
}

fn alternatives(schema: &Value) -> Vec<&Value> {
    let list = |key| schema.get(key).and_then(Value::as_array);
    list("oneOf").or_else(|| list("anyOf")).into_iter().flatten().collect()
}

fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn has_type(schema: &Value, found: &Value) -> bool {
    let types = types(schema);
    let is = |name: &&str| match *name {
        "null" => found.is_null(),
        "boolean" => found.is_boolean(),
        "integer" => found.is_i64() || found.is_u64(),
        "number" => found.is_number(),
        "string" => found.is_string(),
        "array" => found.is_array(),
        "object" => found.is_object(),
        _ => true,
    };
    types.is_empty() || types.iter().any(is)
}

/// Whether a value of the right type is one of the listed values and within the range.
fn is_within(schema: &Value, found: &Value) -> bool {
    if let Some(values) = schema.get("enum").and_then(Value::as_array)
        && !values.contains(found)
        && !found.is_null()
    {
        return false;
    }
    let Some(number) = found.as_f64() else { return true };
    let (min, max) = range(schema);
    min.is_none_or(|min| number >= min) && max.is_none_or(|max| number <= max)
}

/// The stated limits of a number, and those of its format.
fn range(schema: &Value) -> (Option<f64>, Option<f64>) {
    let limit = |key| schema.get(key).and_then(Value::as_f64);
    let (least, greatest) = match schema.get("format").and_then(Value::as_str) {
        Some("int32") => (Some(f64::from(i32::MIN)), Some(f64::from(i32::MAX))),
        _ => (None, None),
    };
    (limit("minimum").or(least), limit("maximum").or(greatest))
}

fn describe(name: &str, schema: &Value) -> String {
    let words = match name {
        "integer" => "an integer",
        "number" => "a number",
        "boolean" => "true or false",
        "string" => "a string",
        "array" => "a list",
        "object" => "an object",
        name => name,
    };
    match (name, range(schema)) {
        ("integer" | "number", (Some(min), Some(max))) => format!("{words} from {min} to {max}"),
        ("integer" | "number", (Some(min), None)) => format!("{words} of at least {min}"),
        _ => words.to_owned(),
    }
}

fn unknown(place: &str, name: &str, properties: &Map<String, Value>) -> String {
    let name: String = name.chars().take(MAX_EXCERPT_CHARS).collect();
    let closest = closest(&name, properties.keys().map(String::as_str));
    match closest {
        Some(closest) => format!("{place}: unknown field; did you mean {closest}?"),
        None => {
            let known: Vec<_> = properties.keys().map(String::as_str).collect();
            format!("{place}: unknown field; the fields are {}", known.join(", "))
        }
    }
}

/// The most similar name, if one is similar.
pub(super) fn closest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let similarity = |known: &'n str| (strsim::jaro_winkler(name, known), known);
    let best = known.map(similarity).max_by(|one, other| one.0.total_cmp(&other.0));
    best.filter(|(similarity, _)| *similarity > 0.8).map(|(_, known)| known)
}

fn shown(place: &str) -> &str {
    match place {
        "" => "the body",
        place => place,
    }
}

/// The value with its kind, or only the kind of a list or an object.
fn excerpt(found: &Value) -> String {
    match found {
        Value::Null => "null".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(text) if text.chars().count() > MAX_EXCERPT_CHARS => {
            let start: String = text.chars().take(MAX_EXCERPT_CHARS).collect();
            format!("the string {start:?}…")
        }
        Value::String(text) => format!("the string {text:?}"),
        found => found.to_string(),
    }
}

fn escaped(name: &str) -> String {
    let name: String = name.chars().take(MAX_EXCERPT_CHARS).collect();
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::chunks::{Change, Report};

    #[test]
    fn a_difference_names_the_field_what_is_expected_and_what_was_sent() {
        let schemas = SchemaSet::of::<Report>();
        let check = |change: Value, expected: &[&str]| {
            let mut body = json!({ "job_id": 7, "chunk_index": 0, "image_range": { "start": 0, "end": 9 } });
            let object = body.as_object_mut().expect("an object");
            for (name, value) in change.as_object().expect("an object").clone() {
                match value.is_null() && name == "image_range" {
                    true => object.remove(&name),
                    false => object.insert(name, value),
                };
            }
            assert_eq!(schemas.differences(&body, ""), expected, "{body}");
        };
        check(json!({}), &[]);
        check(
            json!({ "job_id": "7" }),
            &["/job_id: expected an integer from -2147483648 to 2147483647, got the string \"7\""],
        );
        check(
            json!({ "job_id": 99_999_999_999_u64 }),
            &["/job_id: expected an integer from -2147483648 to 2147483647, got 99999999999"],
        );
        check(
            json!({ "image_range": "0-9" }),
            &["/image_range: expected an object, got the string \"0-9\""],
        );
        check(
            json!({ "image_range": { "start": 0 } }),
            &["/image_range/end is missing; write an integer"],
        );
        check(
            json!({ "image_range": null }),
            &["/image_range is missing; write an object"],
        );
        check(
            json!({ "statsu": "failed" }),
            &["/statsu: unknown field; did you mean status?"],
        );
        check(
            json!({ "status": "done" }),
            &[
                "/status: expected one of \"pending\", \"processing\", \"completed\", \"failed\", got the string \"done\"",
            ],
        );
        check(json!({ "task_id": null }), &[]);
        check(json!({ "task_id": 7 }), &["/task_id: expected a string or null, got 7"]);
    }

    #[test]
    fn a_body_of_another_type_is_named_as_a_whole() {
        let schemas = SchemaSet::of::<Change>();
        assert_eq!(
            schemas.differences(&json!(7), ""),
            ["the body: expected an object, got 7"]
        );
        assert_eq!(
            schemas.differences(&json!([]), "/3"),
            ["/3: expected an object, got a list"]
        );
    }
}
