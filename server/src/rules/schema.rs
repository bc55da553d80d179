//! Holds settings against the JSON Schema that a rule gives of them. A schema that somebody means ill with keeps a
//! validator busy for ever, or deeper than its stack goes; so a server has it done by a process of its own. What the rule
//! itself says of its settings is asked elsewhere.

use std::path::{Path, PathBuf};
use std::time::Duration;

use boon::{CompileError, Compiler, ErrorKind, SchemaIndex, UrlLoader, ValidationError};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use watchpost_policies::Problem;

use super::sandbox::{self, Failure, KillHandle, Task};

/// More mistakes at once help nobody.
const MAX_PROBLEMS: usize = 20;

/// What is said of one; a value that a schema names may be long.
const MAX_MESSAGE_CHARS: usize = 300;

/// What it may take: settings of a hundred kilobytes take milliseconds.
const TIME: Duration = Duration::from_secs(2);
const MEMORY_BYTES: u64 = 1 << 30;

/// The longest that the process may take. Where the machine is busy, it gets a tenth of a processor for its [`TIME`].
const TIMEOUT: Duration = Duration::from_secs(30);

/// Twice as much as [`MAX_PROBLEMS`] with a place and words of [`MAX_MESSAGE_CHARS`] letters of four bytes each.
const MAX_ANSWER_BYTES: u64 = 2 * 2 * (MAX_PROBLEMS * MAX_MESSAGE_CHARS * 4) as u64;

/// The schema goes by this name; nothing is ever fetched from there.
const SCHEMA_URI: &str = "https://rule.invalid/settings.schema.json";

/// Where it is done.
#[derive(Clone, Debug)]
pub enum Schemas {
    /// Here, for those whose own rule it is.
    Here,
    /// In a process of this program.
    Apart(PathBuf),
}

/// Why nothing can be said of the settings.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// It is none.
    #[error("what it gives as the schema of its settings is no JSON Schema: {0}")]
    Wrong(String),
    /// It takes too much.
    #[error(
        "validating its settings against its schema takes more than {} seconds of processor time or {} MiB of memory: \
         simplify the schema (fewer alternatives within alternatives, simpler patterns), or make the settings smaller",
        TIME.as_secs(),
        MEMORY_BYTES >> 20
    )]
    TooMuch,
    /// The process did not end, although it used little of the processor.
    #[error(
        "validating its settings against its schema did not end within {0:?} and was stopped: try again when the machine \
         is less busy, and simplify the schema if that does not help"
    )]
    TimedOut(Duration),
    /// The process did not do what it is there for.
    #[error(
        "the process that holds settings against its schema ended without an answer: {0}. Try again, and report it if that does not help"
    )]
    Broken(String),
}

/// A schema, and what is held against it.
#[derive(Deserialize, Serialize)]
pub(crate) struct ValidationRequest {
    schema: Value,
    settings: Vec<Value>,
}

impl Schemas {
    /// What is wrong with the first of these settings that this schema does not allow; nothing, if all are well.
    pub fn problems(&self, schema: &Value, settings: Vec<Value>) -> Result<Vec<Problem>, SchemaError> {
        if allows_everything(schema) {
            return Ok(Vec::new());
        }
        let question = ValidationRequest {
            schema: schema.clone(),
            settings,
        };
        match self {
            Self::Here => question.problems(),
            Self::Apart(program) => question.problems_apart(program, TIMEOUT),
        }
    }
}

impl ValidationRequest {
    fn problems_apart(&self, program: &Path, timeout: Duration) -> Result<Vec<Problem>, SchemaError> {
        let broken = |error: serde_json::Error| SchemaError::Broken(error.to_string());
        let input = serde_json::to_vec(self).map_err(broken)?;
        let task = Task {
            program,
            command: "validate",
            memory_bytes: MEMORY_BYTES,
            cpu_seconds: TIME.as_secs(),
            timeout,
            max_answer_bytes: MAX_ANSWER_BYTES,
            input: &|to| to.write_all(&input),
        };
        match sandbox::run(&task, &KillHandle::default()) {
            Ok(answer) => serde_json::from_slice(&answer).map_err(broken),
            Err(Failure::Refused(why)) => Err(SchemaError::Wrong(why)),
            Err(Failure::TooLong | Failure::TooMuch) => Err(SchemaError::TooMuch),
            Err(Failure::TimedOut) => Err(SchemaError::TimedOut(timeout)),
            Err(Failure::Broken(why)) => Err(SchemaError::Broken(why)),
        }
    }

    /// The same in this process.
    pub(crate) fn problems(&self) -> Result<Vec<Problem>, SchemaError> {
        let wrong = |error: CompileError| SchemaError::Wrong(bounded(&format!("{error:#}")));
        let mut compiler = Compiler::new();
        compiler.use_loader(Box::new(Nowhere));
        compiler.add_resource(SCHEMA_URI, self.schema.clone()).map_err(wrong)?;
        let mut schemas = boon::Schemas::new();
        let schema: SchemaIndex = compiler.compile(SCHEMA_URI, &mut schemas).map_err(wrong)?;
        let mut problems = Vec::new();
        let mut refused = self
            .settings
            .iter()
            .filter_map(|settings| schemas.validate(settings, schema).err());
        if let Some(error) = refused.next() {
            gather(&error, &mut problems);
        }
        Ok(problems)
    }
}

/// A schema says all that it means.
struct Nowhere;

impl UrlLoader for Nowhere {
    fn load(&self, url: &str) -> Result<Value, Box<dyn std::error::Error>> {
        Err(format!("it refers to {url}, and nothing is fetched for it").into())
    }
}

fn allows_everything(schema: &Value) -> bool {
    match schema {
        Value::Bool(allows) => *allows,
        Value::Object(words) => words.is_empty(),
        _ => false,
    }
}

/// The mistakes at the ends of the tree. Of several forms, none of which fits, each one's are told as one.
fn gather(error: &ValidationError<'_, '_>, problems: &mut Vec<Problem>) {
    if problems.len() == MAX_PROBLEMS {
        return;
    }
    let is_choice = matches!(error.kind, ErrorKind::AnyOf | ErrorKind::OneOf(_));
    if !is_choice && !error.causes.is_empty() {
        return error.causes.iter().for_each(|cause| gather(cause, problems));
    }
    let at = error.instance_location.to_string();
    let what = if error.causes.is_empty() {
        error.kind.to_string()
    } else {
        forms(error, &at)
    };
    problems.push(Problem {
        at: bounded(&at),
        what: bounded(&what),
    });
}

fn forms(error: &ValidationError<'_, '_>, at: &str) -> String {
    let forms = error.causes.iter().map(|form| {
        let mut within = Vec::new();
        gather(form, &mut within);
        let words = within.into_iter().map(|problem| match problem.at.strip_prefix(at) {
            Some("") => problem.what,
            _ => format!("{}: {}", problem.at, problem.what),
        });
        words.collect::<Vec<_>>().join(", ")
    });
    format!(
        "it has none of the forms that the schema allows: {}",
        forms.collect::<Vec<_>>().join("; or ")
    )
}

/// On one line, and no longer than people read.
fn bounded(words: &str) -> String {
    let plain = words
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter });
    plain.take(MAX_MESSAGE_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(schema: Value, settings: Value) -> Vec<(String, String)> {
        let problems = Schemas::Here.problems(&schema, vec![settings]).expect("it is a schema");
        problems.into_iter().map(|problem| (problem.at, problem.what)).collect()
    }

    #[test]
    fn every_mistake_is_told_with_its_place() {
        let schema = json!({
            "additionalProperties": false,
            "properties": { "percent": { "type": "number", "maximum": 100 }, "name": { "type": "string" } },
        });
        assert_eq!(told(schema.clone(), json!({ "percent": 4 })), []);
        let told = told(schema, json!({ "percent": 400, "name": 5, "nmae": 1 }));
        let places: Vec<_> = told.iter().map(|(at, _)| at.as_str()).collect();
        assert_eq!(places.len(), 3, "{told:?}");
        for (place, part) in [("/percent", "100"), ("/name", "string"), ("", "nmae")] {
            assert!(
                told.iter().any(|(at, what)| at == place && what.contains(part)),
                "{told:?}"
            );
        }
    }

    #[test]
    fn of_several_forms_each_says_why_it_is_none() {
        let schema =
            json!({ "properties": { "level": { "oneOf": [{ "type": "number" }, { "required": ["enter"] }] } } });
        let told = told(schema, json!({ "level": {} }));
        let [(at, what)] = told.as_slice() else {
            panic!("{told:?}")
        };
        assert_eq!(at, "/level");
        assert!(
            what.contains("number") && what.contains("; or ") && what.contains("enter"),
            "{what}"
        );
    }

    #[test]
    fn what_is_no_schema_or_refers_elsewhere_is_wrong() {
        for schema in [
            json!({ "type": 5 }),
            json!({ "$ref": "#/$defs/nowhere" }),
            json!({ "$ref": "https://example.com/other.json" }),
            json!({ "$ref": "file:///etc/passwd" }),
            json!({ "$schema": "https://example.com/draft" }),
        ] {
            let refused = Schemas::Here.problems(&schema, vec![json!({})]);
            assert!(matches!(&refused, Err(SchemaError::Wrong(_))), "{schema}: {refused:?}");
        }
    }

    #[test]
    fn a_process_that_never_ends_costs_its_timeout_and_the_error_says_what_to_do() {
        let (_folder, program) = sandbox::shell_script("exec sleep 1000");
        let question = ValidationRequest {
            schema: json!({ "type": "object" }),
            settings: vec![json!({})],
        };
        let timeout = Duration::from_millis(300);
        let failed = question.problems_apart(&program, timeout);
        assert_eq!(failed, Err(SchemaError::TimedOut(timeout)));
        let words = SchemaError::TimedOut(timeout).to_string();
        assert!(words.contains("300ms") && words.contains("try again"), "{words}");
    }

    #[test]
    fn there_are_only_so_many_mistakes_and_words() {
        let schema = json!({ "items": { "enum": ["x".repeat(10_000)] } });
        let told = told(schema, json!(vec![1; 1000]));
        assert_eq!(told.len(), MAX_PROBLEMS);
        assert!(told.iter().all(|(_, what)| what.chars().count() <= MAX_MESSAGE_CHARS));
    }

    #[test]
    fn the_rules_that_watchpost_brings_say_of_their_settings_what_is_so() {
        let settings =
            json!({ "thresholds": [{ "metric": "disk", "warning": 80, "alert": { "enter": 90, "clear": 85 } }] });
        let schema = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
        let threshold = schema(include_str!("../../../wasm-rules/threshold/settings.schema.json"));
        assert_eq!(told(threshold.clone(), settings), []);
        assert_eq!(told(threshold, json!({})), []);
        assert_eq!(
            told(
                schema(include_str!("../../../wasm-rules/role/settings.schema.json")),
                json!({})
            ),
            []
        );
    }
}
