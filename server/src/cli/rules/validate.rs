//! `watchpost rules validate`: the process in which a server has settings held against a stranger's schema. Both come on
//! standard input, what is wrong goes to standard output, and nothing is opened in between.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;

use crate::cli::{IO, SOFTWARE, fail};
use crate::rules::sandbox::{Bounds, EXIT_REJECTED, confine};
use crate::rules::schema::{SchemaError, ValidationRequest};

/// Holds settings against a schema.
#[derive(Args)]
pub(in crate::cli) struct Validate {
    #[command(flatten)]
    bounds: Bounds,
}

impl Validate {
    pub(super) fn run(self) -> ExitCode {
        if let Err(error) = confine(&self.bounds) {
            return fail(SOFTWARE, &format!("the validator could not be confined: {error}"));
        }
        let question: ValidationRequest = match serde_json::from_reader(io::stdin().lock()) {
            Ok(question) => question,
            Err(error) => return fail(IO, &format!("what is to be validated could not be read: {error}")),
        };
        let (answer, code) = match question.problems() {
            Ok(problems) => match serde_json::to_vec(&problems) {
                Ok(answer) => (answer, ExitCode::SUCCESS),
                Err(error) => return fail(SOFTWARE, &error.to_string()),
            },
            Err(SchemaError::Wrong(why)) => (why.into_bytes(), ExitCode::from(EXIT_REJECTED)),
            Err(error) => return fail(SOFTWARE, &error.to_string()),
        };
        let mut out = io::stdout().lock();
        match out.write_all(&answer).and_then(|()| out.flush()) {
            Ok(()) => code,
            Err(error) => fail(IO, &error.to_string()),
        }
    }
}
