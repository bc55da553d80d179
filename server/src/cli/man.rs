//! `watchpost man`: a manual page for each command, generated from the help texts of the command line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Command};

use super::{IO, fail, printed};

/// Options of `man`.
#[derive(Args)]
pub(super) struct Man {
    /// Writes the pages of all commands into this folder, as packages install them, instead of printing the first.
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
}

impl Man {
    pub(super) fn run(&self, whole: Command) -> ExitCode {
        match &self.into {
            Some(folder) => pages(whole, folder),
            None => first(whole),
        }
    }
}

fn pages(whole: Command, folder: &Path) -> ExitCode {
    match fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(whole, folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(IO, &format!("cannot write the pages to {}: {error}", folder.display())),
    }
}

fn first(whole: Command) -> ExitCode {
    // The page of the `help` command would be empty, so it is neither written nor referenced.
    let page = clap_mangen::Man::new(whole.disable_help_subcommand(true));
    let mut text = Vec::new();
    match page.render(&mut text) {
        Ok(()) => printed(&text),
        Err(error) => fail(IO, &error.to_string()),
    }
}
