//! `watchpost rules probe-sandbox`: the sandboxed process that tries what it must not be able to do, and prints which of
//! it is possible. The server and `watchpost check` start it.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;

use crate::cli::{IO, SOFTWARE, fail};
use crate::rules::sandbox::probe::SandboxReport;
use crate::rules::sandbox::{ResourceLimits, confine};

/// The limits of the process.
#[derive(Args)]
pub(in crate::cli) struct ProbeSandbox {
    #[command(flatten)]
    bounds: ResourceLimits,
}

impl ProbeSandbox {
    pub(super) fn run(self) -> ExitCode {
        let protections = match confine(&self.bounds) {
            Ok(protections) => protections,
            Err(error) => return fail(SOFTWARE, &format!("cannot protect the process: {error}")),
        };
        let report = SandboxReport::of_this_process(protections, self.bounds.parent);
        let written = serde_json::to_vec(&report)
            .map_err(io::Error::from)
            .and_then(|json| io::stdout().write_all(&json));
        match written {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(IO, &error.to_string()),
        }
    }
}
