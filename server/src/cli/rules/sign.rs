//! `watchpost rules sign`: signs the bytes of a component. It does not check whether the rule is good.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use watchpost_policies::Digest;

use crate::atomic_file::{self, PUBLIC};
use crate::cli::{CONFIG, IO, fail};
use crate::rules::signing::{KeyError, PrivateKey, Signature};

/// Signs a component.
#[derive(Args)]
pub(in crate::cli) struct Sign {
    /// The component.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The private key, as written by `keygen`.
    #[arg(long, value_name = "KEY")]
    key: PathBuf,
    /// The path of the signature; default: FILE.sig.
    #[arg(short, long, value_name = "FILE.sig")]
    output: Option<PathBuf>,
}

impl Sign {
    pub(super) fn run(self) -> ExitCode {
        let output = self.output.clone().unwrap_or_else(|| {
            let mut name = self.file.clone().into_os_string();
            name.push(".sig");
            name.into()
        });
        let (wasm, pem) = match read(&self.file).and_then(|wasm| Ok((wasm, read(&self.key)?))) {
            Ok(both) => both,
            Err(reason) => return fail(IO, &reason),
        };
        let signature = match signature(&wasm, &pem) {
            Ok(signature) => signature,
            Err(error) => return fail(CONFIG, &format!("{}: {error}", self.key.display())),
        };
        if let Err(error) = write(&output, &format!("{signature}\n")) {
            return fail(IO, &format!("cannot write {}: {error}", output.display()));
        }
        let output = format!("signature  {}\ndigest     {}\n", output.display(), Digest::of(&wasm));
        let mut out = io::stdout().lock();
        match out.write_all(output.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(IO, &error.to_string()),
        }
    }
}

fn signature(wasm: &[u8], pem: &[u8]) -> Result<Signature, KeyError> {
    PrivateKey::of_pem(pem)?.sign(wasm)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// Writes the file atomically, because a server may watch the folder.
fn write(path: &Path, text: &str) -> io::Result<()> {
    atomic_file::replace(path, text.as_bytes(), PUBLIC)
}
