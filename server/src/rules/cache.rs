//! Compiled rules, kept from one start to the next. What cannot be kept or read back is compiled again: the cache
//! saves time and can do no harm, for the engine loads only what bears our own seal.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use watchpost_policies::{ArtefactKey, Digest, Engine, Refusal, RuleModule};

const KEY_BYTES: usize = 32;

/// A folder of compiled rules, and the key to its seals.
pub(super) struct Cache {
    folder: PathBuf,
    key: ArtefactKey,
}

impl Cache {
    /// Nothing, where there can be no cache; the log says why.
    pub(super) fn open(folder: &Path) -> Option<Self> {
        let key = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        match key.and_then(|()| key_of(folder)) {
            Ok(key) => Some(Self {
                folder: folder.to_owned(),
                key: ArtefactKey::new(key),
            }),
            Err(error) => {
                let folder = folder.display();
                log::warn!(folder:%, error:%; "compiled rules cannot be kept; they are compiled at each start");
                None
            }
        }
    }

    /// The rule, from its compiled code where there is some.
    pub(super) fn module(&self, engine: &Engine, wasm: &[u8]) -> Result<RuleModule, Refusal> {
        let path = self.folder.join(format!("{}.compiled", Digest::of(wasm)));
        if let Ok(artefact) = fs::read(&path) {
            let (module, trusted) = RuleModule::restore(engine, wasm, &artefact, &self.key)?;
            match trusted {
                Ok(()) => return Ok(module),
                Err(why) => log::info!(why:%; "a compiled rule was compiled again"),
            }
            self.keep(&path, &module);
            return Ok(module);
        }
        let module = RuleModule::compile(engine, wasm)?;
        self.keep(&path, &module);
        Ok(module)
    }

    fn keep(&self, path: &Path, module: &RuleModule) {
        let kept = module.artefact(&self.key).map_err(io::Error::other);
        if let Err(error) = kept.and_then(|artefact| replace(path, &artefact)) {
            log::warn!(error:%; "a compiled rule could not be kept");
        }
    }
}

fn key_of(folder: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let path = folder.join("key");
    match fs::read(&path) {
        Ok(key) => {
            if let Ok(key) = key.try_into() {
                return Ok(key);
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut key = [0; KEY_BYTES];
    openssl::rand::rand_bytes(&mut key)?;
    replace(&path, &key)?;
    Ok(key)
}

/// Another process may read it at any moment: it is there whole or not at all.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&aside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&aside, path)
}
