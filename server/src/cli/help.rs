//! The help of all commands: clap's, with the options of every command under a heading of their own, and examples. `man`
//! makes manual pages of the same.

use std::process::ExitCode;

use clap::builder::StyledStr;
use clap::{Arg, ArgAction, Args, Command, CommandFactory};

use super::{Arguments, GLOBAL_OPTIONS, USAGE, examples, fail, printed};

/// Selects the command.
#[derive(Args)]
pub(super) struct Help {
    /// The command, such as `check` or `rules push`; without one, the help of the program.
    #[arg(value_name = "COMMAND")]
    path: Vec<String>,
}

impl Help {
    pub(super) fn run(&self) -> ExitCode {
        let mut whole = command();
        whole.build();
        let mut found = &mut whole;
        for name in &self.path {
            found = match found.find_subcommand_mut(name) {
                Some(subcommand) => subcommand,
                None => {
                    let path = self.path.join(" ");
                    return fail(
                        USAGE,
                        &format!("there is no command {path}; `watchpost help` lists the commands"),
                    );
                }
            };
        }
        printed(found.render_long_help().to_string().as_bytes())
    }
}

/// The command line with all that the derived one lacks.
pub(super) fn command() -> Command {
    completed(Arguments::command(), "watchpost")
}

fn completed(command: Command, path: &str) -> Command {
    let help = Arg::new("help")
        .short('h')
        .long("help")
        .action(ArgAction::Help)
        .help("Prints help")
        .help_heading(GLOBAL_OPTIONS)
        .display_order(1005);
    let is_first = command.get_version().is_some();
    let mut command = command.disable_help_flag(true).disable_help_subcommand(true).arg(help);
    if is_first {
        let version = Arg::new("version")
            .short('V')
            .long("version")
            .action(ArgAction::Version)
            .help("Prints the version")
            .help_heading(GLOBAL_OPTIONS)
            .display_order(1006);
        command = command.disable_version_flag(true).arg(version);
    }
    let names: Vec<_> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    for name in names {
        let path = format!("{path} {name}");
        command = command.mut_subcommand(&name, |sub| completed(sub, &path));
    }
    match examples::of(path) {
        [] => command,
        all => command.after_help(shown(all)),
    }
}

fn shown(all: &[examples::Example]) -> StyledStr {
    let mut text = String::from("Examples:\n");
    for example in all {
        text += &format!("  # {}\n  {}\n", example.purpose, example.line);
    }
    text.trim_end().to_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All visible commands with their paths.
    pub(super) fn visit(command: &Command, path: &str, visited: &mut dyn FnMut(&Command, &str)) {
        visited(command, path);
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            visit(sub, &format!("{path} {}", sub.get_name()), visited);
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn every_command_has_examples_that_it_accepts() {
        let mut whole = command();
        whole.build();
        visit(&whole, "watchpost", &mut |_, path| {
            let all = examples::of(path);
            assert!(!all.is_empty(), "{path} has no example; add one to cli/examples.rs");
            for examples::Example { line, .. } in all {
                // What follows in a pipe is another program.
                let first = line.split(['|', '>']).next().unwrap_or_default();
                let words = shlex::split(first).unwrap_or_else(|| panic!("{line}"));
                let words: Vec<_> = words.into_iter().skip_while(|word| word == "sudo").collect();
                let begins = words.join(" ").starts_with("watchpost");
                assert!(begins, "{line} is not an example of {path}");
                let parsed = command().try_get_matches_from(&words);
                if let Err(error) = parsed {
                    assert!(!error.use_stderr(), "{line}: {error}");
                }
            }
        });
    }

    #[test]
    fn every_help_lists_the_options_of_the_command_before_the_global_ones() {
        let mut whole = command();
        whole.build();
        visit(&whole, "watchpost", &mut |command, path| {
            let help = command.clone().render_long_help().to_string();
            let global = help
                .find("Global options:")
                .unwrap_or_else(|| panic!("{path}:\n{help}"));
            let own = help.find("\nOptions:");
            assert!(own.is_none_or(|own| own < global), "{path}:\n{help}");
            for flag in ["--config", "--data-dir", "--set", "--verbose", "--quiet", "--help"] {
                let shown = help[global..].contains(flag);
                assert!(shown, "{path}: {flag} is not global:\n{help}");
            }
            assert!(!help.contains("Print help"), "{path}:\n{help}");
            assert!(help.contains("Examples:"), "{path}:\n{help}");
        });
    }

    #[test]
    fn help_of_a_command_can_be_asked_for_in_three_ways() {
        for words in [
            &["watchpost", "help", "rules", "push"][..],
            &["watchpost", "help", "--help"],
            &["watchpost", "certs", "--help"],
        ] {
            if let Err(error) = command().try_get_matches_from(words) {
                assert!(!error.use_stderr(), "{words:?}: {error}");
            }
        }
    }
}
