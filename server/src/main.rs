//! The program `watchpost`; all functions are in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    watchpost::cli::run(std::env::args_os())
}
