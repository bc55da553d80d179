//! A cache of compiled rules on disk. Code that cannot be stored or loaded is compiled again. The cache cannot
//! introduce foreign code, because the engine loads only code with this installation's seal. The key of the seals is not
//! in the folder of the cache but next to it, so that the folder can be shared, mounted or copied without the key.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use watchpost_policies::{ArtefactKey, ComponentError, Digest, Engine, RuleModule};

const KEY_BYTES: usize = 32;

/// A folder of compiled rules, and the key of their seals. Cheap to clone.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    key: ArtefactKey,
}

impl Cache {
    /// Opens the cache; `None` if that fails, which is logged. The key of `DIR/cache` is `DIR/cache.key`.
    pub fn open(folder: &Path) -> Option<Self> {
        let key = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        // Earlier versions kept the key in the folder; what was sealed with that one is compiled again.
        let _ = fs::remove_file(folder.join("key"));
        match key.and_then(|()| key_at(&folder.with_added_extension("key"))) {
            Ok(key) => Some(Self(Arc::new(Inner {
                folder: folder.to_owned(),
                key: ArtefactKey::new(key),
            }))),
            Err(error) => {
                let folder = folder.display();
                log::warn!(folder:%, error:%; "could not open the cache of compiled rules; rules are compiled at each start");
                None
            }
        }
    }

    /// A built-in rule, from the cache or compiled. Only built-in rules are compiled in this process.
    pub(super) fn module(&self, engine: &Engine, wasm: &[u8]) -> Result<RuleModule, ComponentError> {
        engine.check_bytes(wasm)?;
        if let Some(module) = self.get(engine, Digest::of(wasm))? {
            return Ok(module);
        }
        let module = RuleModule::compile(engine, wasm)?;
        self.put(&module);
        Ok(module)
    }

    /// The rule with this digest, if the cache has code that this engine accepts.
    pub(super) fn get(&self, engine: &Engine, digest: Digest) -> Result<Option<RuleModule>, ComponentError> {
        let Ok(artefact) = fs::read(self.path_of(digest)) else {
            return Ok(None);
        };
        match RuleModule::load(engine, digest, &artefact, &self.0.key) {
            Ok(loaded) => loaded.map(Some),
            Err(reason) => {
                log::info!(reason:%; "cached code of a rule is not usable; compiling the rule again");
                Ok(None)
            }
        }
    }

    /// Stores the compiled code of a rule.
    pub(super) fn put(&self, module: &RuleModule) {
        let artefact = module.artefact(&self.0.key).map_err(io::Error::other);
        if let Err(error) = artefact.and_then(|artefact| replace(&self.path_of(module.digest()), &artefact)) {
            log::warn!(error:%; "could not store the compiled code of a rule");
        }
    }

    /// Whether the cache has code of this rule; its seal is verified when it is loaded.
    pub fn is_cached(&self, digest: Digest) -> bool {
        self.path_of(digest).is_file()
    }

    /// Deletes all code except that of these rules, so unused code does not fill the disk. The list must include the
    /// built-in rules, or they are compiled again at the next start.
    pub fn retain(&self, digests: &[Digest]) {
        let retained: Vec<_> = digests.iter().map(|digest| self.path_of(*digest)).collect();
        // Incomplete files end in `new`.
        let is_code = |path: &Path| {
            path.extension()
                .is_some_and(|ending| ending == "compiled" || ending == "new")
        };
        let removed = fs::read_dir(&self.0.folder).and_then(|entries| {
            for entry in entries {
                let path = entry?.path();
                if is_code(&path) && !retained.contains(&path) {
                    fs::remove_file(path)?;
                }
            }
            Ok(())
        });
        if let Err(error) = removed {
            log::warn!(error:%; "could not remove unused compiled rules");
        }
    }

    fn path_of(&self, digest: Digest) -> PathBuf {
        self.0.folder.join(format!("{digest}.compiled"))
    }
}

fn key_at(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    match fs::read(path) {
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
    replace(path, &key)?;
    Ok(key)
}

/// Atomic, because another process may read the file at any moment.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use watchpost_policies::Limits;

    use super::*;
    use crate::rules::builtin::{ROLE, THRESHOLD};

    #[test]
    fn unused_code_is_deleted_and_other_files_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        let engine = Engine::new(Limits::default()).expect("an engine");
        let cache = Cache::open(&folder.path().join("cache")).expect("a cache");
        let [threshold, role] = [THRESHOLD, ROLE].map(|wasm| {
            let module = cache.module(&engine, wasm).expect("the rule is built in");
            assert!(cache.is_cached(module.digest()));
            module.digest()
        });
        let begun = folder.path().join(format!("cache/{role}.1.new"));
        let foreign = folder.path().join("cache/README");
        fs::write(&begun, "half")
            .and_then(|()| fs::write(&foreign, "mine"))
            .expect("written");
        cache.retain(&[threshold]);
        assert!(cache.is_cached(threshold) && !cache.is_cached(role));
        assert!(!begun.exists() && foreign.exists());
        // The key is the same, so earlier code is accepted.
        let again = Cache::open(&folder.path().join("cache")).expect("a cache");
        assert!(again.get(&engine, threshold).expect("the rule is built in").is_some());
        assert!(again.get(&engine, role).expect("a miss is no error").is_none());
    }

    #[test]
    fn the_key_lies_outside_of_the_folder_and_an_old_one_inside_is_not_used() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("cache");
        let engine = Engine::new(Limits::default()).expect("an engine");
        let digest = Cache::open(&path)
            .expect("a cache")
            .module(&engine, ROLE)
            .expect("the rule is built in")
            .digest();
        // As an earlier version left it.
        fs::rename(folder.path().join("cache.key"), path.join("key")).expect("moved");
        let cache = Cache::open(&path).expect("a cache");
        assert!(!path.join("key").exists() && folder.path().join("cache.key").exists());
        assert!(cache.get(&engine, digest).expect("a miss is no error").is_none());
    }

    #[test]
    fn code_with_another_seal_is_ignored() {
        let (folder, other) = (
            tempfile::tempdir().expect("a folder"),
            tempfile::tempdir().expect("a folder"),
        );
        let engine = Engine::new(Limits::default()).expect("an engine");
        let (cache, others) = (
            Cache::open(&folder.path().join("cache")).expect("a cache"),
            Cache::open(&other.path().join("cache")).expect("a cache"),
        );
        let digest = others.module(&engine, ROLE).expect("the rule is built in").digest();
        fs::copy(others.path_of(digest), cache.path_of(digest)).expect("copied");
        assert!(cache.get(&engine, digest).expect("a miss is no error").is_none());
        cache.module(&engine, ROLE).expect("it is compiled again");
        assert!(cache.get(&engine, digest).expect("the rule is built in").is_some());
    }

    #[test]
    fn built_in_rules_obey_the_size_limit_even_if_their_code_is_cached() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(&folder.path().join("cache")).expect("a cache");
        let with = |component_bytes| {
            let limits = Limits {
                component_bytes,
                ..Limits::default()
            };
            cache.module(&Engine::new(limits).expect("an engine"), THRESHOLD)
        };
        assert!(with(THRESHOLD.len()).is_ok());
        assert!(matches!(
            with(THRESHOLD.len() - 1),
            Err(ComponentError::TooLarge { .. })
        ));
    }
}
