//! Writes the SBOM of the workspace in the current folder to standard output.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let written = watchpost_sbom::generate(Path::new("."))
        .map_err(|error| error.to_string())
        .and_then(|text| {
            let mut output = std::io::stdout().lock();
            let written = output.write_all(text.as_bytes()).and_then(|()| output.flush());
            written.map_err(|error| format!("standard output: {error}"))
        });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A closed standard error leaves the exit code.
            let _ = writeln!(std::io::stderr(), "watchpost-sbom: {error}");
            ExitCode::FAILURE
        }
    }
}
