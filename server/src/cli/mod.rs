//! The command line: one file a command. It reads arguments, calls one thing, and turns the outcome into words and
//! an exit code of sysexits.h.

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

/// The command line was wrong.
const USAGE: u8 = 64;
/// What was given is not in the form that it has to have.
const DATA: u8 = 65;
/// What was asked for is not there.
const UNAVAILABLE: u8 = 69;
/// We are broken.
const SOFTWARE: u8 = 70;
/// Reading or writing failed.
const IO: u8 = 74;
/// The configuration is wrong.
const CONFIG: u8 = 78;

/// Watches this machine, judges it by rules that can be replaced while it runs, and answers clients that prove who
/// they are.
#[derive(Parser)]
#[command(name = "watchpost", version, long_version = LONG_VERSION, max_term_width = 100)]
pub struct Arguments {
    /// The configuration file, TOML or YAML by its name; also by the variable `WATCHPOST_CONFIG`.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where everything is kept that has to outlive a restart.
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Sets one setting, over file and environment; may be given more than once.
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Names the configuration file where no flag does.
const CONFIG_VARIABLE: &str = "WATCHPOST_CONFIG";

/// Names the server to ask where no flag does.
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
    /// Measures and serves until it is told to stop; this is what happens without a command.
    Serve(serve::Serve),
    /// Reads the configuration, names every mistake, and prints the settings that would be in force.
    Check,
    /// Asks a running Watchpost whether it is ready; for containers.
    Healthcheck(healthcheck::Healthcheck),
    /// Makes and takes back certificates of the development authority.
    Certs(certs::CertsCommand),
    /// Tools for those who write rules, which need no server; and the rules of one that runs.
    Rules(rules::RulesCommand),
    /// Prints the document of the API (OpenAPI 3.1), which a running Watchpost has at `/openapi.json`.
    Openapi(openapi::OpenApi),
    /// Prints what a shell needs to complete this command line.
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
    /// Prints the manual page, or writes those of all commands.
    Man(man::Man),
}

/// Runs the command that the arguments name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(refused) => {
            // clap prints help and versions by the same way, and those are no mistakes.
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
        Err(mistakes) => return fail(CONFIG, &mistakes.to_string()),
    };
    match certs::run(command, &config.server.data_dir, crate::clock::now(), &mut io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(IO, &error.to_string()),
    }
}

fn sources(arguments: &Arguments) -> Result<Sources, String> {
    let mut flags = Vec::new();
    for setting in &arguments.set {
        let Some((key, value)) = setting.split_once('=') else {
            return Err(format!("--set {setting} sets nothing; write --set KEY=VALUE"));
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

/// Prints an answer, with which a command ends. Whoever reads only its beginning has what they wanted.
fn printed(answer: &[u8]) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(answer).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => fail(IO, &error.to_string()),
        _ => ExitCode::SUCCESS,
    }
}

/// One line on stderr, and the code.
fn fail(code: u8, what: &str) -> ExitCode {
    // Where even that cannot be written, the code has to do.
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
