//! `watchpost rules validate`: the sandboxed process that validates settings against an untrusted schema for the
//! server. Both arrive on standard input, the errors go to standard output, and the process opens no files in between.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;

use crate::cli::{IO, SOFTWARE, fail};
use crate::rules::sandbox::{EXIT_REJECTED, ResourceLimits, confine};
use crate::rules::schema::{SchemaError, ValidationRequest};

/// Validates settings against a schema.
#[derive(Args)]
pub(in crate::cli) struct Validate {
    #[command(flatten)]
    bounds: ResourceLimits,
}

impl Validate {
    pub(super) fn run(self) -> ExitCode {
        if let Err(error) = confine(&self.bounds) {
            return fail(SOFTWARE, &format!("cannot sandbox the validator: {error}"));
        }
        let request: ValidationRequest = match serde_json::from_reader(io::stdin().lock()) {
            Ok(request) => request,
            Err(error) => return fail(IO, &format!("cannot read the settings to validate: {error}")),
        };
        let (answer, code) = match request.problems() {
            Ok(problems) => match serde_json::to_vec(&problems) {
                Ok(answer) => (answer, ExitCode::SUCCESS),
                Err(error) => return fail(SOFTWARE, &error.to_string()),
            },
            Err(SchemaError::Wrong(reason)) => (reason.into_bytes(), ExitCode::from(EXIT_REJECTED)),
            Err(error) => return fail(SOFTWARE, &error.to_string()),
        };
        let mut out = io::stdout().lock();
        match out.write_all(&answer).and_then(|()| out.flush()) {
            Ok(()) => code,
            Err(error) => fail(IO, &error.to_string()),
        }
    }
}
