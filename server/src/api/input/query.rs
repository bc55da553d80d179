//! Query parameters.

use std::ops::Deref;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use futures_util::future::{Ready, ready};
use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};

use super::schema::closest;
use crate::api::error::ApiError;

/// The longest excerpt of a value in an error.
const MAX_EXCERPT_CHARS: usize = 40;

/// The query of a request.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T> Query<T> {
    /// The deserialized parameters.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Query<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: DeserializeOwned + IntoParams + 'static> FromRequest for Query<T> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let query = request.query_string();
        let parsed = serde_urlencoded::from_str(query).map(Self);
        ready(parsed.map_err(|_| ApiError::BadRequest(explain(query, &T::into_params(|| Some(ParameterIn::Query))))))
    }
}

/// The first mistake in a query that could not be deserialized.
fn explain(query: &str, known: &[Parameter]) -> String {
    let names = || known.iter().map(|parameter| parameter.name.as_str());
    let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    for (at, (name, value)) in pairs.iter().enumerate() {
        let Some(parameter) = known.iter().find(|parameter| parameter.name == *name) else {
            return unknown(name, names());
        };
        if pairs[..at].iter().any(|(earlier, _)| earlier == name) {
            return format!("{name} is given twice; give it once");
        }
        if let Some(expected) = mistake(value, parameter) {
            return format!("{name} is {:?}; write {expected}", cut(value));
        }
    }
    let is_missing = |parameter: &&Parameter| {
        parameter.required == utoipa::openapi::Required::True && pairs.iter().all(|(name, _)| *name != parameter.name)
    };
    match known.iter().find(is_missing) {
        Some(parameter) => format!("{0} is missing; write ?{0}=…", parameter.name),
        None => format!(
            "the query is invalid; its parameters are {}",
            names().collect::<Vec<_>>().join(", ")
        ),
    }
}

fn unknown<'n>(name: &str, known: impl Iterator<Item = &'n str> + Clone) -> String {
    let name = cut(name);
    match closest(&name, known.clone()) {
        Some(closest) => format!("{name:?} is not a parameter; did you mean {closest}?"),
        None => format!(
            "{name:?} is not a parameter; the parameters are {}",
            known.collect::<Vec<_>>().join(", ")
        ),
    }
}

/// What the value of a parameter should have been, if it is wrong.
fn mistake(value: &str, parameter: &Parameter) -> Option<String> {
    let schema = serde_json::to_value(parameter.schema.as_ref()?).ok()?;
    let values = enumerated(&schema);
    if !values.is_empty() {
        let is_one = values.iter().any(|one| one == value);
        return (!is_one).then(|| format!("one of {}", values.join(", ")));
    }
    let text = schema.get("type").map(Value::to_string).unwrap_or_default();
    let limit = |key| schema.get(key).and_then(Value::as_i64);
    if text.contains("integer") {
        let is_legal = value
            .parse::<i64>()
            .is_ok_and(|number| limit("minimum").is_none_or(|min| number >= min));
        return (!is_legal).then(|| match (limit("minimum"), limit("maximum")) {
            (Some(min), Some(max)) => format!("an integer from {min} to {max}"),
            (Some(min), None) => format!("an integer of at least {min}"),
            _ => "an integer".to_owned(),
        });
    }
    if text.contains("boolean") {
        return (!matches!(value, "true" | "false")).then(|| "true or false".to_owned());
    }
    if text.contains("number") {
        return value.parse::<f64>().is_err().then(|| "a number".to_owned());
    }
    None
}

/// The listed values of a schema, or of its alternatives.
fn enumerated(schema: &Value) -> Vec<String> {
    let own = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    let alternatives = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    let own = own.filter_map(Value::as_str).map(str::to_owned);
    own.chain(alternatives.flat_map(enumerated)).collect()
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_EXCERPT_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use utoipa::ToSchema;

    use super::*;

    #[derive(Deserialize, ToSchema)]
    #[serde(rename_all = "lowercase")]
    enum Colour {
        Red,
        Blue,
    }

    #[derive(Deserialize, IntoParams)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only parsed")]
    struct Parameters {
        #[param(minimum = 1, maximum = 1000)]
        limit: Option<i64>,
        #[param(inline)]
        colour: Option<Colour>,
        force: Option<bool>,
        metric: String,
    }

    #[test]
    fn a_mistake_names_the_parameter_its_value_and_the_remedy() {
        let check = |query: &str, expected: &str| {
            assert!(serde_urlencoded::from_str::<Parameters>(query).is_err(), "{query}");
            assert_eq!(
                explain(query, &Parameters::into_params(|| Some(ParameterIn::Query))),
                expected,
                "{query}"
            );
        };
        check(
            "metric=a&limit=abc",
            "limit is \"abc\"; write an integer from 1 to 1000",
        );
        check(
            "metric=a&limit=99999999999999999999",
            "limit is \"99999999999999999999\"; write an integer from 1 to 1000",
        );
        check("metric=a&limit=", "limit is \"\"; write an integer from 1 to 1000");
        check("metric=a&colour=green", "colour is \"green\"; write one of red, blue");
        check("metric=a&force=1", "force is \"1\"; write true or false");
        check("metric=a&metric=b", "metric is given twice; give it once");
        check(
            "metric=a&limits=1",
            "\"limits\" is not a parameter; did you mean limit?",
        );
        check(
            "metric=a&x=1",
            "\"x\" is not a parameter; the parameters are limit, colour, force, metric",
        );
        check("limit=1", "metric is missing; write ?metric=…");
    }
}
