//! The command line: one file for each command. A command parses arguments, calls one function, and turns the result
//! into output and an exit code of sysexits.h.

mod audit;
pub mod certs;
mod check;
mod client;
mod examples;
mod healthcheck;
mod help;
mod man;
mod metrics;
mod openapi;
mod progress;
mod ready_file;
mod report;
mod rules;
mod screen;
mod serve;
mod shell;
mod status;
mod style;
mod table;
mod top;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, Args, FromArgMatches, Parser, Subcommand};

use crate::config::{Environment, Sources};
use watchpost_pki::PkiError;

/// A check failed, in contrast to a command that could not run.
const EXIT_FAILED_CHECK: u8 = 1;
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
/// A temporary failure: the same command may succeed later.
const TEMPORARY: u8 = 75;
/// The configuration is invalid.
const CONFIG: u8 = 78;

/// The heading of the options that every command has; they come after the command's own.
const GLOBAL_OPTIONS: &str = "Global options";

/// Monitors this machine, evaluates rules that can be replaced at run time, and serves authenticated clients.
#[derive(Parser)]
#[command(name = "watchpost", version, long_version = LONG_VERSION, max_term_width = 100)]
pub struct Arguments {
    #[command(flatten)]
    global: GlobalOptions,
    #[command(subcommand)]
    command: Option<Command>,
}

/// The options of every command.
#[derive(Args)]
struct GlobalOptions {
    /// The configuration file, TOML or YAML by its extension; also set by the variable `WATCHPOST_CONFIG`.
    #[arg(short, long, global = true, value_name = "FILE", help_heading = GLOBAL_OPTIONS, display_order = 1000)]
    config: Option<PathBuf>,
    /// The folder for all data that must survive a restart.
    #[arg(long, global = true, value_name = "DIR", help_heading = GLOBAL_OPTIONS, display_order = 1001)]
    data_dir: Option<PathBuf>,
    /// Overrides one setting of the file and the environment; may be repeated.
    #[arg(long, global = true, value_name = "KEY=VALUE", help_heading = GLOBAL_OPTIONS, display_order = 1002)]
    set: Vec<String>,
    /// Logs more: -v sets the log level debug, -vv trace.
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet", help_heading = GLOBAL_OPTIONS, display_order = 1003)]
    verbose: u8,
    /// Logs less: -q sets the log level warn, -qq error.
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = GLOBAL_OPTIONS, display_order = 1004)]
    quiet: u8,
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
    /// Checks everything that a start needs, reports every problem, and prints the effective settings.
    Check(check::Check),
    /// Shows the state of a running server: rules, sources, listeners and certificates.
    Status(status::Status),
    /// Shows what the rules find on a machine; the exit code is its severity.
    Report(report::Report),
    /// Shows the measurements of a machine, and refreshes them.
    Top(top::Top),
    /// Queries whether a running server is ready; for containers.
    Healthcheck(healthcheck::Healthcheck),
    /// Prints the metrics that thresholds can name, with their current values on a server.
    Metrics(metrics::Metrics),
    /// Verifies the audit file.
    Audit(audit::AuditCommand),
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
    /// Prints the help of a command.
    Help(help::Help),
}

/// Runs the command of the arguments.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let parsed = help::command().try_get_matches_from(arguments);
    let arguments = match parsed.and_then(|matches| Arguments::from_arg_matches(&matches)) {
        Ok(arguments) => arguments,
        Err(refused) => {
            // clap reports help and version output as errors too.
            let code = if refused.use_stderr() { USAGE } else { 0 };
            let _ = refused.print();
            return ExitCode::from(code);
        }
    };
    let Arguments { global, command } = arguments;
    let sources = match sources(&global) {
        Ok(sources) => sources,
        Err(wrong) => return fail(USAGE, &wrong),
    };
    match command.unwrap_or_else(|| Command::Serve(serve::Serve::default())) {
        Command::Serve(serve) => serve.run(sources),
        Command::Check(check) => check.run(sources),
        Command::Status(status) => status.run(sources),
        Command::Report(report) => report.run(sources),
        Command::Top(top) => top.run(sources),
        Command::Healthcheck(healthcheck) => healthcheck.run(sources, global.quiet > 0),
        Command::Metrics(metrics) => metrics.run(sources),
        Command::Audit(command) => command.run(sources),
        Command::Certs(command) => run_certs(command, sources),
        Command::Rules(command) => command.run(&sources),
        Command::Openapi(command) => command.run(),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut help::command(), "watchpost", &mut script);
            printed(&script)
        }
        Command::Man(man) => man.run(),
        Command::Help(help) => help.run(),
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
        Err(error) => fail(code_of(&error), &error.to_string()),
    }
}

/// A name, a role or a lifetime that cannot be meant is a wrong command line; the rest is about files.
fn code_of(error: &certs::CertsError) -> u8 {
    match error {
        error if error.is_usage() => USAGE,
        certs::CertsError::Pki(PkiError::OpenSsl { .. }) => SOFTWARE,
        _ => IO,
    }
}

fn sources(global: &GlobalOptions) -> Result<Sources, String> {
    let mut flags = Vec::new();
    let level = match (global.verbose, global.quiet) {
        (0, 0) => None,
        (0, 1) => Some("warn"),
        (0, _) => Some("error"),
        (1, _) => Some("debug"),
        _ => Some("trace"),
    };
    flags.extend(level.map(|level| ("log.level".to_owned(), level.to_owned())));
    for setting in &global.set {
        let Some((key, value)) = setting.split_once('=') else {
            return Err(format!("--set {setting} has no value; write --set KEY=VALUE"));
        };
        flags.push((key.to_owned(), value.to_owned()));
    }
    if let Some(data_dir) = &global.data_dir {
        flags.push(("server.data_dir".to_owned(), data_dir.to_string_lossy().into_owned()));
    }
    Ok(Sources {
        file: global
            .config
            .clone()
            .or_else(|| Environment::variable_of_process(CONFIG_VARIABLE).map(PathBuf::from)),
        environment: Environment::of_process(),
        flags,
        reserved_variables: [CONFIG_VARIABLE, SERVER_VARIABLE].map(str::to_owned).into(),
        working_directory: PathBuf::new(),
    })
}

/// The result of a command that ran to its end.
enum CheckResult {
    Yes,
    No,
}

/// Why a command could not run to its end.
struct CommandError {
    code: u8,
    what: String,
}

impl CommandError {
    fn new(code: u8, what: impl Into<String>) -> Self {
        let what = what.into();
        Self { code, what }
    }
}

/// Writes a command's output. A reader that closes the pipe early is no error.
fn say(out: &mut dyn Write, text: &str) -> Result<(), CommandError> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CommandError::new(IO, format!("cannot write the output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints a command's output.
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
