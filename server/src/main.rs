//! The program `watchpost`. All code is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    watchpost::cli::run(std::env::args_os())
}
