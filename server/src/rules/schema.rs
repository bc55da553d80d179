//! Validates settings against the JSON Schema of a rule. A malicious schema can keep a validator busy forever or
//! overflow its stack, so a server validates in a separate process. The rule's own validation is not part of this
//! module.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use boon::{CompileError, Compiler, ErrorKind, SchemaIndex, UrlLoader, ValidationError};
use parking_lot::{Condvar, Mutex};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use watchpost_policies::Problem;

use super::sandbox::{self, Failure, KillHandle, Task};

/// Maximum number of reported mistakes.
const MAX_PROBLEMS: usize = 20;

/// Maximum length of a message; a schema may contain long values.
const MAX_MESSAGE_CHARS: usize = 300;

/// Processor time limit; settings of a hundred kilobytes take milliseconds.
const CPU_LIMIT: Duration = Duration::from_secs(2);
const MEMORY_BYTES: u64 = 1 << 30;

/// Wall-clock limit. On a busy machine this leaves a tenth of a processor for [`CPU_LIMIT`].
const TIMEOUT: Duration = Duration::from_secs(30);

/// Validations that run at once: each may use [`MEMORY_BYTES`].
const MAX_CONCURRENT_VALIDATIONS: usize = 2;

/// How long a validation waits until others have ended. On average they take milliseconds.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(30);

/// Twice the size of [`MAX_PROBLEMS`] locations and messages of [`MAX_MESSAGE_CHARS`] characters of four bytes.
const MAX_RESULT_BYTES: u64 = 2 * 2 * (MAX_PROBLEMS * MAX_MESSAGE_CHARS * 4) as u64;

/// The URI of the schema; nothing is fetched from it.
const SCHEMA_URI: &str = "https://rule.invalid/settings.schema.json";

/// Where settings are validated.
#[derive(Clone, Debug)]
pub enum Schemas {
    /// In this process, for authors who trust their rule.
    InProcess,
    /// In a separate process.
    Sandboxed(Validators),
}

/// Starts the processes that validate, a limited number at once. Cheap to clone; all clones share the limit.
#[derive(Clone, Debug)]
pub struct Validators(Arc<Slots>);

#[derive(Debug)]
struct Slots {
    program: PathBuf,
    running: Mutex<usize>,
    ended: Condvar,
}

/// A running validation. Dropping it lets the next one begin.
struct Slot<'s>(&'s Slots);

impl Validators {
    /// Processes of this executable.
    pub(super) fn new(program: PathBuf) -> Self {
        Self(Arc::new(Slots {
            program,
            running: Mutex::default(),
            ended: Condvar::new(),
        }))
    }

    /// Waits for a free slot on a thread that may block. `None` after the timeout.
    fn acquire(&self, timeout: Duration) -> Option<Slot<'_>> {
        let slots = &*self.0;
        let mut running = slots.running.lock();
        let waited =
            slots
                .ended
                .wait_while_for(&mut running, |running| *running >= MAX_CONCURRENT_VALIDATIONS, timeout);
        if waited.timed_out() && *running >= MAX_CONCURRENT_VALIDATIONS {
            return None;
        }
        *running += 1;
        Some(Slot(slots))
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        *self.0.running.lock() -= 1;
        self.0.ended.notify_one();
    }
}

/// Why the settings cannot be validated.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// The schema is invalid.
    #[error("the rule's settings schema is not valid JSON Schema: {0}")]
    Wrong(String),
    /// A resource limit is exceeded.
    #[error(
        "validating the settings against the schema takes more than {} seconds of processor time or {} MiB of memory: \
         simplify the schema (fewer alternatives within alternatives, simpler patterns), or make the settings smaller",
        CPU_LIMIT.as_secs(),
        MEMORY_BYTES >> 20
    )]
    TooMuch,
    /// The process did not end in time although it used little processor time.
    #[error(
        "validating the settings against the schema exceeded {0:?} and was stopped: try again when the machine \
         is less busy, and simplify the schema if the error persists"
    )]
    TimedOut(Duration),
    /// Other validations took too long.
    #[error("the server validates other settings at the moment: try again in a minute")]
    Busy,
    /// The process failed.
    #[error("the validation process ended without a result: {0}. Try again, and report a bug if the error persists")]
    Broken(String),
}

/// A schema and the settings to validate.
#[derive(Deserialize, Serialize)]
pub(crate) struct ValidationRequest {
    schema: Value,
    settings: Vec<Value>,
}

impl Schemas {
    /// The mistakes in the first settings that the schema rejects; empty if it accepts all.
    pub fn problems(&self, schema: &Value, settings: Vec<Value>) -> Result<Vec<Problem>, SchemaError> {
        if allows_everything(schema) {
            return Ok(Vec::new());
        }
        let request = ValidationRequest {
            schema: schema.clone(),
            settings,
        };
        match self {
            Self::InProcess => request.problems(),
            Self::Sandboxed(validators) => {
                let slot = validators.acquire(QUEUE_TIMEOUT).ok_or(SchemaError::Busy)?;
                request.problems_sandboxed(&slot.0.program, TIMEOUT)
            }
        }
    }
}

impl ValidationRequest {
    fn problems_sandboxed(&self, program: &Path, timeout: Duration) -> Result<Vec<Problem>, SchemaError> {
        let broken = |error: serde_json::Error| SchemaError::Broken(error.to_string());
        let input = serde_json::to_vec(self).map_err(broken)?;
        let task = Task {
            program,
            command: "validate",
            memory_bytes: MEMORY_BYTES,
            cpu_seconds: CPU_LIMIT.as_secs(),
            timeout,
            max_answer_bytes: MAX_RESULT_BYTES,
            input: &|to| to.write_all(&input),
        };
        match sandbox::run(&task, &KillHandle::default()) {
            Ok(answer) => serde_json::from_slice(&answer).map_err(broken),
            Err(Failure::Refused(reason)) => Err(SchemaError::Wrong(reason)),
            Err(Failure::TooLong | Failure::TooMuch) => Err(SchemaError::TooMuch),
            Err(Failure::TimedOut) => Err(SchemaError::TimedOut(timeout)),
            Err(Failure::Broken(reason)) => Err(SchemaError::Broken(reason)),
        }
    }

    /// Validates in this process.
    pub(crate) fn problems(&self) -> Result<Vec<Problem>, SchemaError> {
        let wrong = |error: CompileError| SchemaError::Wrong(bounded(&format!("{error:#}")));
        let mut compiler = Compiler::new();
        compiler.use_loader(Box::new(NoLoader));
        compiler.add_resource(SCHEMA_URI, self.schema.clone()).map_err(wrong)?;
        let mut schemas = boon::Schemas::new();
        let schema: SchemaIndex = compiler.compile(SCHEMA_URI, &mut schemas).map_err(wrong)?;
        let mut problems = Vec::new();
        let mut rejections = self
            .settings
            .iter()
            .filter_map(|settings| schemas.validate(settings, schema).err());
        if let Some(error) = rejections.next() {
            gather(&error, &mut problems);
        }
        Ok(problems)
    }
}

/// A loader that fetches nothing: a schema must be self-contained.
struct NoLoader;

impl UrlLoader for NoLoader {
    fn load(&self, url: &str) -> Result<Value, Box<dyn std::error::Error>> {
        Err(format!("the schema refers to {url}, and external schemas are not fetched").into())
    }
}

fn allows_everything(schema: &Value) -> bool {
    match schema {
        Value::Bool(allows) => *allows,
        Value::Object(text) => text.is_empty(),
        _ => false,
    }
}

/// Collects the leaves of the error tree. The alternatives of a choice are reported as one mistake.
fn gather(error: &ValidationError<'_, '_>, problems: &mut Vec<Problem>) {
    if problems.len() == MAX_PROBLEMS {
        return;
    }
    let is_choice = matches!(error.kind, ErrorKind::AnyOf | ErrorKind::OneOf(_));
    if !is_choice && !error.causes.is_empty() {
        return error.causes.iter().for_each(|cause| gather(cause, problems));
    }
    let path = error.instance_location.to_string();
    let message = if error.causes.is_empty() {
        error.kind.to_string()
    } else {
        alternatives(error, &path)
    };
    problems.push(Problem {
        path: bounded(&path),
        message: bounded(&message),
    });
}

fn alternatives(error: &ValidationError<'_, '_>, path: &str) -> String {
    let alternatives = error.causes.iter().map(|alternative| {
        let mut within = Vec::new();
        gather(alternative, &mut within);
        let text = within.into_iter().map(|problem| match problem.path.strip_prefix(path) {
            Some("") => problem.message,
            _ => format!("{}: {}", problem.path, problem.message),
        });
        text.collect::<Vec<_>>().join(", ")
    });
    format!(
        "matches none of the alternatives of the schema: {}",
        alternatives.collect::<Vec<_>>().join("; or ")
    )
}

/// On one line, truncated to [`MAX_MESSAGE_CHARS`].
fn bounded(text: &str) -> String {
    let plain = text
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter });
    plain.take(MAX_MESSAGE_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems_of(schema: Value, settings: Value) -> Vec<(String, String)> {
        let problems = Schemas::InProcess
            .problems(&schema, vec![settings])
            .expect("it is a schema");
        problems
            .into_iter()
            .map(|problem| (problem.path, problem.message))
            .collect()
    }

    #[test]
    fn every_mistake_is_reported_with_its_location() {
        let schema = json!({
            "additionalProperties": false,
            "properties": { "percent": { "type": "number", "maximum": 100 }, "name": { "type": "string" } },
        });
        assert_eq!(problems_of(schema.clone(), json!({ "percent": 4 })), []);
        let problems = problems_of(schema, json!({ "percent": 400, "name": 5, "nmae": 1 }));
        let places: Vec<_> = problems.iter().map(|(at, _)| at.as_str()).collect();
        assert_eq!(places.len(), 3, "{problems:?}");
        for (place, part) in [("/percent", "100"), ("/name", "string"), ("", "nmae")] {
            assert!(
                problems.iter().any(|(at, what)| at == place && what.contains(part)),
                "{problems:?}"
            );
        }
    }

    #[test]
    fn each_alternative_reports_why_it_does_not_match() {
        let schema =
            json!({ "properties": { "level": { "oneOf": [{ "type": "number" }, { "required": ["enter"] }] } } });
        let problems = problems_of(schema, json!({ "level": {} }));
        let [(at, what)] = problems.as_slice() else {
            panic!("{problems:?}")
        };
        assert_eq!(at, "/level");
        assert!(
            what.contains("number") && what.contains("; or ") && what.contains("enter"),
            "{what}"
        );
    }

    #[test]
    fn an_invalid_schema_or_an_external_reference_is_an_error() {
        for schema in [
            json!({ "type": 5 }),
            json!({ "$ref": "#/$defs/nowhere" }),
            json!({ "$ref": "https://example.com/other.json" }),
            json!({ "$ref": "file:///etc/passwd" }),
            json!({ "$schema": "https://example.com/draft" }),
        ] {
            let rejections = Schemas::InProcess.problems(&schema, vec![json!({})]);
            assert!(
                matches!(&rejections, Err(SchemaError::Wrong(_))),
                "{schema}: {rejections:?}"
            );
        }
    }

    #[test]
    fn a_process_that_never_ends_is_stopped_and_the_error_has_a_remedy() {
        let (_folder, program) = sandbox::shell_script("exec sleep 1000");
        let request = ValidationRequest {
            schema: json!({ "type": "object" }),
            settings: vec![json!({})],
        };
        let timeout = Duration::from_millis(300);
        let failed = request.problems_sandboxed(&program, timeout);
        assert_eq!(failed, Err(SchemaError::TimedOut(timeout)));
        let text = SchemaError::TimedOut(timeout).to_string();
        assert!(text.contains("300ms") && text.contains("try again"), "{text}");
    }

    #[test]
    fn a_validation_waits_until_one_of_the_running_ones_ends() {
        let validators = Validators::new(PathBuf::from("watchpost"));
        let acquire = || validators.acquire(Duration::from_millis(50));
        let mut running: Vec<_> = (0..MAX_CONCURRENT_VALIDATIONS)
            .map(|_| acquire().expect("a slot"))
            .collect();
        assert!(acquire().is_none(), "one more than the limit");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| validators.acquire(Duration::from_secs(60)).is_some());
            assert!(acquire().is_none(), "it waits meanwhile");
            running.pop();
            assert!(waiting.join().expect("no panic"), "it waits for a slot");
        });
    }

    #[test]
    fn the_number_and_length_of_mistakes_are_limited() {
        let schema = json!({ "items": { "enum": ["x".repeat(10_000)] } });
        let problems = problems_of(schema, json!(vec![1; 1000]));
        assert_eq!(problems.len(), MAX_PROBLEMS);
        assert!(
            problems
                .iter()
                .all(|(_, what)| what.chars().count() <= MAX_MESSAGE_CHARS)
        );
    }

    #[test]
    fn the_schemas_of_the_built_in_rules_match_their_settings() {
        let settings =
            json!({ "thresholds": [{ "metric": "disk", "warning": 80, "alert": { "enter": 90, "clear": 85 } }] });
        let schema = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
        let threshold = schema(include_str!("../../../wasm-rules/threshold/settings.schema.json"));
        assert_eq!(problems_of(threshold.clone(), settings), []);
        assert_eq!(problems_of(threshold, json!({})), []);
        assert_eq!(
            problems_of(
                schema(include_str!("../../../wasm-rules/role/settings.schema.json")),
                json!({})
            ),
            []
        );
    }
}
