//! `watchpost audit`: verifies the audit file.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{CONFIG, DATA, IO, fail, printed};
use crate::audit::{self, Head, Verified};
use crate::config::{Config, Sources};

/// Verifies the audit file.
#[derive(Args)]
pub(super) struct AuditCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Verifies that no line of the audit file was changed, removed, reordered or truncated.
    ///
    /// It reads the rotated files and the current one, also while a server writes them, and prints the head: the number
    /// and the hash of the last line. The files contain no secret, so someone who can write them can replace all of
    /// them with a new chain, and delete the oldest files as rotation does. A head that was kept on another machine
    /// finds the former. The exit code is 65 if the chain is damaged, and 74 if it cannot be read.
    Verify(Verify),
}

#[derive(Args)]
struct Verify {
    /// The current audit file, instead of that of the configuration.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// A head that was printed before, which must be a line of the chain; may be repeated.
    #[arg(long, value_name = "NUMBER:HASH")]
    head: Vec<Head>,
}

impl AuditCommand {
    /// Exits with 0 if the chain is intact.
    pub(super) fn run(self, sources: Sources) -> ExitCode {
        let Command::Verify(verify) = self.command;
        verify.run(sources)
    }
}

impl Verify {
    fn run(self, sources: Sources) -> ExitCode {
        let file = match (self.file, Config::load(&sources)) {
            (Some(file), _) => file,
            (None, Ok(config)) => config.audit.options(&config.server.data_dir).path,
            (None, Err(errors)) => return fail(CONFIG, &errors.to_string()),
        };
        let verified = match audit::verify(&file, &self.head) {
            Ok(verified) => verified,
            Err(error) => {
                let what = format!(
                    "cannot read the audit file {}: {error}; name a file that you may read, or the configuration with \
                     --config",
                    file.display()
                );
                return fail(IO, &what);
            }
        };
        for damage in &verified.damages {
            // If stderr is not writable, only the code remains.
            let _ = writeln!(io::stderr(), "watchpost: {damage}");
        }
        let Verified {
            files,
            lines,
            first,
            ref head,
            ref damages,
        } = verified;
        let state = match damages.len() {
            0 => "intact".to_owned(),
            1 => "1 damage".to_owned(),
            damages => format!("{damages} damages"),
        };
        let (files, lines) = (counted(files as u64, "file"), counted(lines, "line"));
        let range = format!("{lines} in {files}, number {first} to {}", head.sequence);
        let written = printed(format!("{}: {range}: {state}\nhead {head}\n", file.display()).as_bytes());
        match damages.is_empty() {
            true => written,
            false => ExitCode::from(DATA),
        }
    }
}

fn counted(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}
