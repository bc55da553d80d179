//! `watchpost man`: a manual page for each command, made of the help texts, with the sections that Unix manuals have. The
//! options, their descriptions and the list of commands are `clap_mangen`'s.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, Args, Command};
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use super::{GLOBAL_OPTIONS, IO, examples, fail, help, printed};

/// Options of `man`.
#[derive(Args)]
pub(super) struct Man {
    /// Writes the pages of all commands into this folder, as packages install them, instead of printing the first.
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
}

impl Man {
    pub(super) fn run(&self) -> ExitCode {
        let mut whole = help::command();
        whole.build();
        match &self.into {
            Some(folder) => match fs::create_dir_all(folder).and_then(|()| write_all(&whole, "watchpost", folder)) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(IO, &format!("cannot write the pages to {}: {error}", folder.display())),
            },
            None => match page(&whole, "watchpost") {
                Ok(page) => printed(&page),
                Err(error) => fail(IO, &error.to_string()),
            },
        }
    }
}

fn write_all(command: &Command, path: &str, folder: &Path) -> io::Result<()> {
    fs::write(folder.join(format!("{}.1", page_name(path))), page(command, path)?)?;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        write_all(sub, &format!("{path} {}", sub.get_name()), folder)?;
    }
    Ok(())
}

/// The name of the page of a command: `watchpost-rules-push`.
fn page_name(path: &str) -> String {
    path.replace(' ', "-")
}

/// The page of a command.
fn page(command: &Command, path: &str) -> io::Result<Vec<u8>> {
    let name = page_name(path);
    let pages = clap_mangen::Man::new(command.clone())
        .title(name.to_uppercase())
        .source(format!("watchpost {}", env!("CARGO_PKG_VERSION")))
        .manual("Watchpost Manual");
    let mut text = Vec::new();
    pages.render_title(&mut text)?;
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    section("NAME", |roff| {
        roff.text([roman(format!("{name} - {about}"))]);
    })
    .to_writer(&mut text)?;
    section("SYNOPSIS", |roff| {
        roff.text(synopsis(command, path));
    })
    .to_writer(&mut text)?;
    pages.render_description_section(&mut text)?;
    pages.render_options_section(&mut text)?;
    if command.get_subcommands().any(|sub| !sub.is_hide_set()) {
        section("COMMANDS", |roff| subcommands(roff, command, &name)).to_writer(&mut text)?;
    }
    definitions("EXIT STATUS", &exit_codes(path)).to_writer(&mut text)?;
    definitions("ENVIRONMENT", &ENVIRONMENT).to_writer(&mut text)?;
    definitions("FILES", &FILES).to_writer(&mut text)?;
    section("EXAMPLES", |roff| all_examples(roff, path)).to_writer(&mut text)?;
    section("SEE ALSO", |roff| see_also(roff, path)).to_writer(&mut text)?;
    Ok(text)
}

fn section(heading: &str, write: impl FnOnce(&mut Roff)) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [heading]);
    write(&mut roff);
    roff
}

fn definitions(heading: &str, all: &[(&str, &str)]) -> Roff {
    section(heading, |roff| {
        for (term, meaning) in all {
            roff.control("TP", []);
            roff.text([bold(*term)]);
            roff.text([roman(*meaning)]);
        }
    })
}

/// The command with its own options and their values; the options of every command are one item.
fn synopsis(command: &Command, path: &str) -> Vec<Inline> {
    let mut line = vec![bold(path)];
    let own = command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && arg.get_help_heading() != Some(GLOBAL_OPTIONS));
    let (positional, options): (Vec<&Arg>, Vec<&Arg>) = own.partition(|arg| arg.is_positional());
    for option in options {
        let value = option.get_action().takes_values().then(|| value_of(option));
        let flag = option.get_long().map(|long| format!("--{long}"));
        let flag = flag
            .or_else(|| option.get_short().map(|short| format!("-{short}")))
            .unwrap_or_default();
        let (open, close) = if option.is_required_set() { ("", "") } else { ("[", "]") };
        line.extend([roman(format!(" {open}")), bold(flag)]);
        if let Some(value) = value {
            line.extend([roman(" "), italic(value)]);
        }
        line.push(roman(close));
    }
    line.push(roman(" [global options]"));
    for argument in positional {
        let (open, close) = if argument.is_required_set() {
            ("", "")
        } else {
            ("[", "]")
        };
        line.extend([roman(format!(" {open}")), italic(value_of(argument)), roman(close)]);
    }
    if command.has_subcommands() {
        let (open, close) = if command.is_subcommand_required_set() {
            ("", "")
        } else {
            ("[", "]")
        };
        line.extend([roman(format!(" {open}")), italic("command"), roman(close)]);
    }
    line
}

fn value_of(argument: &Arg) -> String {
    let names = argument.get_value_names().map(|names| names.join(" "));
    names.unwrap_or_else(|| argument.get_id().as_str().to_uppercase())
}

fn subcommands(roff: &mut Roff, command: &Command, name: &str) {
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        roff.control("TP", []);
        roff.text([bold(format!("{name}-{}", sub.get_name())), roman("(1)")]);
        roff.text([roman(sub.get_about().map(ToString::to_string).unwrap_or_default())]);
    }
}

fn all_examples(roff: &mut Roff, path: &str) {
    for examples::Example { purpose, line } in examples::of(path) {
        roff.control("PP", []);
        roff.text([roman(format!("{purpose}:"))]);
        roff.control("PP", []);
        roff.control("RS", ["4"]);
        roff.control("nf", []);
        roff.text([bold(*line)]);
        roff.control("fi", []);
        roff.control("RE", []);
    }
}

/// The page of the parent command; the first page names the documents.
fn see_also(roff: &mut Roff, path: &str) {
    let text = match path.rsplit_once(' ') {
        Some((parent, _)) => vec![bold(page_name(parent)), roman("(1)")],
        None => vec![roman(
            "The documents in /usr/share/doc/watchpost, of which docs/CONFIGURATION.md lists every setting",
        )],
    };
    roff.text(text);
}

const SUCCESS: (&str, &str) = ("0", "Success.");
const USAGE: (&str, &str) = ("64", "The command line is wrong.");
const UNAVAILABLE: (&str, &str) = ("69", "A server or a database cannot be reached.");
const INTERNAL: (&str, &str) = ("70", "An internal error.");
const INPUT_OUTPUT: (&str, &str) = ("74", "A file cannot be read or written.");
const CONFIGURATION: (&str, &str) = ("78", "The configuration is invalid.");

fn exit_codes(path: &str) -> Vec<(&'static str, &'static str)> {
    match path {
        "watchpost" | "watchpost serve" => vec![
            ("0", "A signal stopped the server, and all requests were answered."),
            USAGE,
            (
                "69",
                "An address cannot be bound, the database cannot be opened, or the server certificate has expired.",
            ),
            INTERNAL,
            INPUT_OUTPUT,
            (
                "75",
                "At the start: another server uses the data directory. At the end: some requests were not answered in time.",
            ),
            CONFIGURATION,
        ],
        "watchpost check" => vec![
            ("0", "There is no error; there may be warnings."),
            USAGE,
            INPUT_OUTPUT,
            ("78", "There is an error, so a start would fail."),
        ],
        "watchpost report" => vec![
            ("0", "All findings are ok."),
            ("1", "The worst finding is a warning."),
            ("2", "The worst finding is an alert."),
            (
                "3",
                "Something could not be measured, or the server could not be asked.",
            ),
            USAGE,
        ],
        "watchpost status" | "watchpost top" | "watchpost metrics" => vec![
            SUCCESS,
            ("1", "The server denied the request."),
            USAGE,
            UNAVAILABLE,
            INPUT_OUTPUT,
            CONFIGURATION,
        ],
        "watchpost healthcheck" => vec![
            ("0", "The server is ready."),
            USAGE,
            ("69", "The server is not ready, or cannot be reached."),
            CONFIGURATION,
        ],
        path if path.starts_with("watchpost rules") => vec![
            SUCCESS,
            (
                "1",
                "A check or a case failed, the rule was rejected or misbehaved, a trial found differences, or the server \
                 refused.",
            ),
            USAGE,
            ("65", "A file has another format."),
            UNAVAILABLE,
            INTERNAL,
            INPUT_OUTPUT,
            CONFIGURATION,
        ],
        path if path.starts_with("watchpost certs") => vec![SUCCESS, USAGE, INPUT_OUTPUT, CONFIGURATION],
        _ => vec![SUCCESS, USAGE, INPUT_OUTPUT],
    }
}

const ENVIRONMENT: [(&str, &str); 5] = [
    ("WATCHPOST_CONFIG", "The configuration file, unless --config names one."),
    (
        "WATCHPOST_SERVER",
        "The URL of the server for commands that talk to one, unless --server names one.",
    ),
    (
        "WATCHPOST_SECTION__KEY",
        "A setting, such as WATCHPOST_LOG__LEVEL=debug; it takes precedence over the configuration file.",
    ),
    ("NO_COLOR", "If it is not empty, the output has no colours."),
    (
        "NOTIFY_SOCKET, WATCHDOG_USEC, CREDENTIALS_DIRECTORY",
        "Set by systemd, whose protocols the server implements.",
    ),
];

const FILES: [(&str, &str); 4] = [
    (
        "/etc/watchpost/watchpost.toml",
        "The configuration of the packaged service. status, report and top read it if no other is named.",
    ),
    (
        "DATA_DIR/watchpost.db",
        "The database: history, decisions and uploaded rules. DATA_DIR is server.data_dir, ./watchpost-data by default.",
    ),
    (
        "DATA_DIR/watchpost.lock",
        "The lock of the server that uses the directory. The kernel removes the lock when the process ends.",
    ),
    (
        "DATA_DIR/pki",
        "The development authority with the certificates of the server and its clients.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn pages() -> Vec<(String, String)> {
        let folder = tempfile::tempdir().expect("a folder");
        let mut whole = help::command();
        whole.build();
        write_all(&whole, "watchpost", folder.path()).expect("written");
        let files = fs::read_dir(folder.path()).expect("it is read");
        let read = |file: io::Result<fs::DirEntry>| {
            let path = file.expect("it is read").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, fs::read_to_string(path).expect("it is text"))
        };
        files.map(read).collect()
    }

    #[test]
    fn every_page_has_the_sections_of_a_unix_manual() {
        let pages = pages();
        for name in [
            "watchpost.1",
            "watchpost-check.1",
            "watchpost-rules-push.1",
            "watchpost-certs-issue.1",
        ] {
            assert!(pages.iter().any(|(known, _)| known == name), "{name}");
        }
        for (name, text) in &pages {
            for section in [
                "NAME",
                "SYNOPSIS",
                "DESCRIPTION",
                "EXIT STATUS",
                "ENVIRONMENT",
                "FILES",
                "EXAMPLES",
                "SEE ALSO",
            ] {
                let heading = format!(".SH {section}\n");
                let quoted = format!(".SH \"{section}\"\n");
                assert!(
                    text.contains(&heading) || text.contains(&quoted),
                    "{section} in {name}:\n{text}"
                );
            }
            assert!(!text.contains("rules-compile"), "{name} names a hidden command");
        }
    }

    #[test]
    fn a_synopsis_has_the_values_of_its_options() {
        let pages = pages();
        let (_, page) = pages
            .iter()
            .find(|(name, _)| name == "watchpost-rules-sign.1")
            .expect("a page");
        let synopsis = page
            .split("SYNOPSIS")
            .nth(1)
            .and_then(|rest| rest.lines().nth(1))
            .expect("a line");
        for part in ["\\fIKEY\\fR", "\\fIFILE.sig\\fR", "\\fIFILE\\fR", "[global options]"] {
            assert!(synopsis.contains(part), "{part}: {synopsis}");
        }
    }
}
