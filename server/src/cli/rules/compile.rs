//! `watchpost rules compile`: the sandboxed process that compiles an untrusted component for the server. The component
//! arrives on standard input, the code goes to standard output, and the process opens no files in between.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use watchpost_policies::{ArtefactKey, RecipeError};

use crate::cli::{IO, SOFTWARE, fail};
use crate::rules::compiler::CompileRequest;
use crate::rules::sandbox::{EXIT_REJECTED, OUT_OF_MEMORY, ResourceLimits, confine};

/// The limits of the process. The other parameters arrive on standard input.
#[derive(Args)]
pub(in crate::cli) struct Compile {
    #[command(flatten)]
    bounds: ResourceLimits,
}

impl Compile {
    pub(super) fn run(self) -> ExitCode {
        if let Err(error) = confine(&self.bounds) {
            return fail(SOFTWARE, &format!("cannot sandbox the compiler: {error}"));
        }
        let order = match CompileRequest::read(&mut io::stdin().lock()) {
            Ok(order) => order,
            Err(error) => {
                let code = match error.kind() {
                    io::ErrorKind::OutOfMemory => OUT_OF_MEMORY,
                    _ => IO,
                };
                return fail(code, &format!("cannot read the component to compile: {error}"));
            }
        };
        match order.recipe.compile(&order.wasm, &ArtefactKey::new(order.secret)) {
            Ok(artefact) => answer(&artefact, ExitCode::SUCCESS),
            Err(RecipeError::Invalid { reason }) => answer(reason.as_bytes(), ExitCode::from(EXIT_REJECTED)),
            Err(error @ RecipeError::OutOfMemory) => fail(OUT_OF_MEMORY, &error.to_string()),
            Err(error @ RecipeError::Setup(_)) => fail(SOFTWARE, &error.to_string()),
        }
    }
}

fn answer(bytes: &[u8], code: ExitCode) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => code,
        Err(error) => fail(IO, &error.to_string()),
    }
}
