//! `watchpost rules keygen`: a key to sign rules with. The private half stays with whoever signs; servers are told the
//! public one. It replaces nothing: a key that is lost cannot be made again.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::cli::{IO, SOFTWARE, fail};
use crate::rules::signing::{KeyError, PrivateKey};

/// Makes a key.
#[derive(Args)]
pub(in crate::cli) struct Keygen {
    /// What the two files are called: NAME.key, which only you can read, and NAME.pub.
    #[arg(long, value_name = "NAME")]
    out: PathBuf,
}

impl Keygen {
    pub(super) fn run(self) -> ExitCode {
        let (private, public) = (with(&self.out, ".key"), with(&self.out, ".pub"));
        let made = PrivateKey::generate().and_then(|key| Ok((key.to_pem()?, key.public()?.to_pem()?)));
        let (key, public_key) = match made {
            Ok(made) => made,
            Err(KeyError::OpenSsl(error)) => return fail(SOFTWARE, &format!("no key could be made: {error}")),
            Err(error) => return fail(SOFTWARE, &error.to_string()),
        };
        // The public half first: a private key is never written where it cannot be told of.
        if let Err(error) = create(&public, &public_key, 0o644) {
            return fail(IO, &refused(&public, &error));
        }
        if let Err(error) = create(&private, &key, 0o600) {
            let _ = fs::remove_file(&public);
            return fail(IO, &refused(&private, &error));
        }
        let said = format!(
            "private key  {}\npublic key   {}\n\nsign by      watchpost rules sign RULE.wasm --key {}\n",
            private.display(),
            public.display(),
            private.display(),
        );
        let mut out = io::stdout().lock();
        match out.write_all(said.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(IO, &error.to_string()),
        }
    }
}

/// A name may have dots, so no ending is replaced.
fn with(name: &Path, ending: &str) -> PathBuf {
    let mut name = name.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn create(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written
}

fn refused(path: &Path, error: &io::Error) -> String {
    let path = path.display();
    match error.kind() {
        ErrorKind::AlreadyExists => format!("{path} is there already; move it away, or name another by --out"),
        _ => format!("{path} cannot be written: {error}"),
    }
}
