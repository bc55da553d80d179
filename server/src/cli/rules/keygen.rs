//! `watchpost rules keygen`: creates a key pair to sign rules with. The private key stays with the signer; servers are
//! configured with the public key. Existing files are never overwritten: a lost key cannot be recreated.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::cli::{IO, SOFTWARE, fail};
use crate::rules::signing::{KeyError, PrivateKey};

/// Creates a key pair.
#[derive(Args)]
pub(in crate::cli) struct Keygen {
    /// The base name of the two files: NAME.key, which only you can read, and NAME.pub.
    #[arg(long, value_name = "NAME")]
    out: PathBuf,
}

impl Keygen {
    pub(super) fn run(self) -> ExitCode {
        let (private, public) = (with(&self.out, ".key"), with(&self.out, ".pub"));
        let made = PrivateKey::generate().and_then(|key| Ok((key.to_pem()?, key.public()?.to_pem()?)));
        let (key, public_key) = match made {
            Ok(made) => made,
            Err(KeyError::OpenSsl(error)) => return fail(SOFTWARE, &format!("cannot create a key: {error}")),
            Err(error) => return fail(SOFTWARE, &error.to_string()),
        };
        // The public key is written first, so that no private key is left without its public key.
        if let Err(error) = create(&public, &public_key, 0o644) {
            return fail(IO, &refused(&public, &error));
        }
        if let Err(error) = create(&private, &key, 0o600) {
            let _ = fs::remove_file(&public);
            return fail(IO, &refused(&private, &error));
        }
        let output = format!(
            "private key  {}\npublic key   {}\n\nsign by      watchpost rules sign RULE.wasm --key {}\n",
            private.display(),
            public.display(),
            private.display(),
        );
        let mut out = io::stdout().lock();
        match out.write_all(output.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(IO, &error.to_string()),
        }
    }
}

/// A name may contain dots, so the extension is appended, not replaced.
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
        ErrorKind::AlreadyExists => format!("{path} exists already; move it, or choose another name with --out"),
        _ => format!("cannot write {path}: {error}"),
    }
}
