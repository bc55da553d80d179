//! `watchpost man`: the manual, a page for each command. What stands there is made of the command line's own comments.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Command};

use super::{IO, fail};

/// Which pages, and where to.
#[derive(Args)]
pub(super) struct Man {
    /// Writes the pages of all commands into this folder, as packages install them, instead of printing the first.
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
}

impl Man {
    pub(super) fn run(&self, whole: Command) -> ExitCode {
        let written = match &self.into {
            Some(folder) => pages(whole, folder),
            None => print(whole),
        };
        match written {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => fail(IO, &why),
        }
    }
}

fn pages(whole: Command, folder: &Path) -> Result<(), String> {
    let made = fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(whole, folder));
    made.map_err(|error| format!("the pages cannot be written into {}: {error}", folder.display()))
}

fn print(whole: Command) -> Result<(), String> {
    // The page of `help` would say nothing, so there is none, and none is named.
    let page = clap_mangen::Man::new(whole.disable_help_subcommand(true));
    let mut out = io::stdout();
    let printed = page.render(&mut out).and_then(|()| out.flush());
    printed.map_err(|error| error.to_string())
}
