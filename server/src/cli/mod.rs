//! The command line: one file for each command. A command parses arguments, calls one function, and turns the result
//! into output and an exit code of sysexits.h.

pub mod certs;
mod check;
mod healthcheck;
mod man;
mod openapi;
mod ready_file;
mod rules;
mod serve;
mod shell;
mod table;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::{Environment, Sources};

/// The command line is wrong.
const USAGE: u8 = 64;
/// Input data has the wrong format.
const DATA: u8 = 65;
/// A required service is unavailable.
const UNAVAILABLE: u8 = 69;
/// Internal error.
const SOFTWARE: u8 = 70;
/// Input or output failed.
const IO: u8 = 74;
/// The configuration is invalid.
const CONFIG: u8 = 78;

/// Monitors this machine, evaluates rules that can be replaced at run time, and serves authenticated clients.
#[derive(Parser)]
#[command(name = "watchpost", version, long_version = LONG_VERSION, max_term_width = 100)]
pub struct Arguments {
    /// The configuration file, TOML or YAML by its extension; also set by the variable `WATCHPOST_CONFIG`.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder for all data that must survive a restart.
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Overrides one setting of the file and the environment; may be repeated.
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

/// The variable with the configuration file; `--config` takes precedence.
const CONFIG_VARIABLE: &str = "WATCHPOST_CONFIG";

/// The variable with the server's URL; `--server` takes precedence.
const SERVER_VARIABLE: &str = "WATCHPOST_SERVER";

const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (commit ",
    env!("BUILD_COMMIT"),
    ", ",
    env!("BUILD_RUSTC"),
    ")"
);

#[derive(Subcommand)]
enum Command {
    /// Runs the server until a signal stops it; the default command.
    Serve(serve::Serve),
    /// Validates the configuration, reports every error, and prints the effective settings.
    Check,
    /// Queries whether a running server is ready; for containers.
    Healthcheck(healthcheck::Healthcheck),
    /// Issues and revokes development certificates.
    Certs(certs::CertsCommand),
    /// Develops and tests rules without a server; manages the rules of a running server.
    Rules(rules::RulesCommand),
    /// Prints the OpenAPI 3.1 document, which a running server has at `/openapi.json`.
    Openapi(openapi::OpenApi),
    /// Prints the completion script of a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Prints the manual page, or writes those of all commands.
    Man(man::Man),
}

/// Runs the command of the arguments.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(refused) => {
            // clap reports help and version output as errors too.
            let code = if refused.use_stderr() { USAGE } else { 0 };
            let _ = refused.print();
            return ExitCode::from(code);
        }
    };
    let sources = match sources(&arguments) {
        Ok(sources) => sources,
        Err(wrong) => return fail(USAGE, &wrong),
    };
    match arguments
        .command
        .unwrap_or_else(|| Command::Serve(serve::Serve::default()))
    {
        Command::Serve(serve) => serve.run(sources),
        Command::Check => check::run(sources),
        Command::Healthcheck(healthcheck) => healthcheck.run(sources),
        Command::Certs(command) => run_certs(command, sources),
        Command::Rules(command) => command.run(&sources),
        Command::Openapi(command) => command.run(),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "watchpost", &mut script);
            printed(&script)
        }
        Command::Man(man) => man.run(Arguments::command()),
    }
}

fn run_certs(command: certs::CertsCommand, sources: Sources) -> ExitCode {
    let config = match crate::config::Config::load(&sources) {
        Ok(config) => config,
        Err(errors) => return fail(CONFIG, &errors.to_string()),
    };
    let (data_dir, roles) = (&config.server.data_dir, config.rules.roles());
    match certs::run(command, data_dir, &roles, crate::clock::now(), &mut io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(if error.is_usage() { USAGE } else { IO }, &error.to_string()),
    }
}

fn sources(arguments: &Arguments) -> Result<Sources, String> {
    let mut flags = Vec::new();
    for setting in &arguments.set {
        let Some((key, value)) = setting.split_once('=') else {
            return Err(format!("--set {setting} has no value; write --set KEY=VALUE"));
        };
        flags.push((key.to_owned(), value.to_owned()));
    }
    if let Some(data_dir) = &arguments.data_dir {
        flags.push(("server.data_dir".to_owned(), data_dir.to_string_lossy().into_owned()));
    }
    Ok(Sources {
        file: arguments
            .config
            .clone()
            .or_else(|| Environment::variable_of_process(CONFIG_VARIABLE).map(PathBuf::from)),
        environment: Environment::of_process(),
        flags,
        reserved_variables: [CONFIG_VARIABLE, SERVER_VARIABLE].map(str::to_owned).into(),
        working_directory: PathBuf::new(),
    })
}

/// Prints a command's output. A reader that closes the pipe early is no error.
fn printed(answer: &[u8]) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(answer).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => fail(IO, &error.to_string()),
        _ => ExitCode::SUCCESS,
    }
}

/// Prints one line on stderr, and returns the code.
fn fail(code: u8, what: &str) -> ExitCode {
    // If stderr is not writable, only the code remains.
    let _ = writeln!(io::stderr(), "watchpost: {what}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }
}
