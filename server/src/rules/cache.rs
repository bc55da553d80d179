//! Compiled rules, kept from one start to the next. What cannot be kept or read back is compiled again: the cache
//! saves time and can do no harm, for the engine loads only what bears our own seal.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use watchpost_policies::{ArtefactKey, Digest, Engine, Refusal, RuleModule};

const KEY_BYTES: usize = 32;

/// A folder of compiled rules, and the key to its seals. Cheap to clone.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    key: ArtefactKey,
}

impl Cache {
    /// Nothing, where there can be no cache; the log says why.
    pub fn open(folder: &Path) -> Option<Self> {
        let key = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        match key.and_then(|()| key_of(folder)) {
            Ok(key) => Some(Self(Arc::new(Inner {
                folder: folder.to_owned(),
                key: ArtefactKey::new(key),
            }))),
            Err(error) => {
                let folder = folder.display();
                log::warn!(folder:%, error:%; "compiled rules cannot be kept; they are compiled at each start");
                None
            }
        }
    }

    /// A rule that Watchpost brings, from its compiled code where there is some. Only what is our own is compiled in
    /// this process.
    pub(super) fn module(&self, engine: &Engine, wasm: &[u8]) -> Result<RuleModule, Refusal> {
        engine.check_bytes(wasm)?;
        if let Some(module) = self.get(engine, Digest::of(wasm))? {
            return Ok(module);
        }
        let module = RuleModule::compile(engine, wasm)?;
        self.put(&module);
        Ok(module)
    }

    /// The rule with this digest, if code of it is kept that this engine can take.
    pub(super) fn get(&self, engine: &Engine, digest: Digest) -> Result<Option<RuleModule>, Refusal> {
        let Ok(artefact) = fs::read(self.path_of(digest)) else {
            return Ok(None);
        };
        match RuleModule::load(engine, digest, &artefact, &self.0.key) {
            Ok(loaded) => loaded.map(Some),
            Err(why) => {
                log::info!(why:%; "a compiled rule is compiled again");
                Ok(None)
            }
        }
    }

    /// Keeps its code for another time.
    pub(super) fn put(&self, module: &RuleModule) {
        let kept = module.artefact(&self.0.key).map_err(io::Error::other);
        if let Err(error) = kept.and_then(|artefact| replace(&self.path_of(module.digest()), &artefact)) {
            log::warn!(error:%; "a compiled rule could not be kept");
        }
    }

    /// Whether there is code of it; whether that can be trusted is seen when it is loaded.
    pub fn is_kept(&self, digest: Digest) -> bool {
        self.path_of(digest).is_file()
    }

    /// Lets go of all code but that of these rules: what nobody uses any more would fill the disk. The rules that
    /// Watchpost brings are to be named too, or they are compiled again at the next start.
    pub fn keep_only(&self, digests: &[Digest]) {
        let wanted: Vec<_> = digests.iter().map(|digest| self.path_of(*digest)).collect();
        // What was begun and never finished is a `new` one; the key is neither.
        let is_code = |path: &Path| {
            path.extension()
                .is_some_and(|ending| ending == "compiled" || ending == "new")
        };
        let gone = fs::read_dir(&self.0.folder).and_then(|entries| {
            for entry in entries {
                let path = entry?.path();
                if is_code(&path) && !wanted.contains(&path) {
                    fs::remove_file(path)?;
                }
            }
            Ok(())
        });
        if let Err(error) = gone {
            log::warn!(error:%; "compiled rules that nobody uses could not be removed");
        }
    }

    fn path_of(&self, digest: Digest) -> PathBuf {
        self.0.folder.join(format!("{digest}.compiled"))
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

#[cfg(test)]
mod tests {
    use watchpost_policies::Limits;

    use super::*;
    use crate::rules::builtin::{ROLE, THRESHOLD};

    #[test]
    fn what_nobody_uses_is_let_go_and_the_key_and_the_rest_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        let engine = Engine::new(Limits::default()).expect("an engine");
        let cache = Cache::open(folder.path()).expect("a cache");
        let [threshold, role] = [THRESHOLD, ROLE].map(|wasm| {
            let module = cache.module(&engine, wasm).expect("it is ours");
            assert!(cache.is_kept(module.digest()));
            module.digest()
        });
        let begun = folder.path().join(format!("{role}.1.new"));
        let foreign = folder.path().join("README");
        fs::write(&begun, "half")
            .and_then(|()| fs::write(&foreign, "mine"))
            .expect("written");
        cache.keep_only(&[threshold]);
        assert!(cache.is_kept(threshold) && !cache.is_kept(role));
        assert!(!begun.exists() && foreign.exists());
        // The key is the same, so what it sealed is taken.
        let again = Cache::open(folder.path()).expect("a cache");
        assert!(again.get(&engine, threshold).expect("it is ours").is_some());
        assert!(again.get(&engine, role).expect("it is not there").is_none());
    }

    #[test]
    fn what_was_changed_or_sealed_by_others_is_not_there() {
        let (folder, other) = (
            tempfile::tempdir().expect("a folder"),
            tempfile::tempdir().expect("a folder"),
        );
        let engine = Engine::new(Limits::default()).expect("an engine");
        let (cache, others) = (
            Cache::open(folder.path()).expect("a cache"),
            Cache::open(other.path()).expect("a cache"),
        );
        let digest = others.module(&engine, ROLE).expect("it is ours").digest();
        fs::copy(others.path_of(digest), cache.path_of(digest)).expect("copied");
        assert!(cache.get(&engine, digest).expect("nothing is run").is_none());
        cache.module(&engine, ROLE).expect("it is compiled again");
        assert!(cache.get(&engine, digest).expect("it is ours").is_some());
    }

    #[test]
    fn our_own_rules_obey_the_limit_on_their_size_also_where_their_code_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(folder.path()).expect("a cache");
        let with = |component_bytes| {
            let limits = Limits {
                component_bytes,
                ..Limits::default()
            };
            cache.module(&Engine::new(limits).expect("an engine"), THRESHOLD)
        };
        assert!(with(THRESHOLD.len()).is_ok());
        assert!(matches!(with(THRESHOLD.len() - 1), Err(Refusal::TooLarge { .. })));
    }
}
