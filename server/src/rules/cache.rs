//! A cache of compiled rules on disk. Code that cannot be stored or loaded is compiled again. The cache cannot
//! introduce foreign code, because the engine loads only code with this installation's seal. The key of the seals is not
//! in the folder of the cache but next to it, so that the folder can be shared, mounted or copied without the key.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use watchpost_policies::{ArtefactKey, ComponentError, Digest, Engine, RuleModule};

use super::builtin::{ROLE, THRESHOLD};
use crate::atomic_file::{self, PRIVATE};
use crate::clock;

const KEY_BYTES: usize = 32;

/// A folder of compiled rules, and the key of their seals. Cheap to clone.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    key: ArtefactKey,
    /// Maximum size of all code in bytes.
    max_bytes: AtomicU64,
    /// The code that is not deleted although it is old.
    in_use: Mutex<Vec<Digest>>,
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
                max_bytes: AtomicU64::new(u64::MAX),
                in_use: Mutex::default(),
            }))),
            Err(error) => {
                let folder = folder.display();
                log::warn!(folder:%, error:%; "could not open the cache of compiled rules; rules are compiled at each start");
                None
            }
        }
    }

    /// Limits the size of all code together. When code is added beyond it, the code that was not used for the longest
    /// time is deleted.
    pub fn limit(&self, max_bytes: u64) {
        self.0.max_bytes.store(max_bytes, Ordering::Relaxed);
    }

    /// Exempts the code of active rules from the limit. Built-in rules are always exempt.
    pub(super) fn set_in_use(&self, digests: Vec<Digest>) {
        *self.0.in_use.lock() = digests;
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
        let path = self.path_of(digest);
        let Ok(artefact) = fs::read(&path) else {
            return Ok(None);
        };
        mark_used(&path);
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
        if let Err(error) =
            artefact.and_then(|artefact| atomic_file::replace(&self.path_of(module.digest()), &artefact, PRIVATE))
        {
            log::warn!(error:%; "could not store the compiled code of a rule");
        }
        if let Err(error) = self.evict(module.digest()) {
            log::warn!(error:%; "could not limit the size of the cache of compiled rules");
        }
    }

    /// Deletes the code that was not used for the longest time until the size is within the limit. The code that was just
    /// added stays, and so does that of active and built-in rules.
    fn evict(&self, added: Digest) -> io::Result<()> {
        let mut exempt = self.0.in_use.lock().clone();
        exempt.extend([added, Digest::of(THRESHOLD), Digest::of(ROLE)]);
        let exempt: Vec<_> = exempt.iter().map(|digest| self.path_of(*digest)).collect();
        let (mut total, mut inactive) = (0, Vec::new());
        for entry in fs::read_dir(&self.0.folder)? {
            let entry = entry?;
            let (path, metadata) = (entry.path(), entry.metadata()?);
            if path.extension().is_none_or(|ending| ending != "compiled") {
                continue;
            }
            total += metadata.len();
            if !exempt.contains(&path) {
                inactive.push((metadata.modified()?, metadata.len(), path));
            }
        }
        let max_bytes = self.0.max_bytes.load(Ordering::Relaxed);
        inactive.sort();
        for (_, bytes, path) in inactive {
            if total <= max_bytes {
                break;
            }
            fs::remove_file(&path)?;
            total -= bytes;
            let path = path.display();
            log::info!(path:%, bytes; "deleted compiled code that was not used for the longest time");
        }
        Ok(())
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

/// The modification time of a file is the time of its last use. If it cannot be set, the code is only deleted earlier.
fn mark_used(path: &Path) {
    let touched = fs::File::options().append(true).open(path).and_then(|file| {
        let now = std::time::SystemTime::from(clock::now());
        file.set_modified(now)
    });
    if let Err(error) = touched {
        log::debug!(error:%; "could not mark compiled code as used");
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
    atomic_file::replace(path, &key, PRIVATE)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use watchpost_policies::Limits;

    use super::*;

    /// Stores code of this size under the digest of a number, used so many seconds after 1970.
    fn code(cache: &Cache, number: u8, used: u64) -> Digest {
        let digest = Digest::of(&[number]);
        let path = cache.path_of(digest);
        fs::write(&path, vec![0; 1000]).expect("written");
        let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(used);
        let file = fs::File::options().append(true).open(&path).expect("it is there");
        file.set_modified(time).expect("set");
        digest
    }

    #[test]
    fn beyond_the_size_limit_the_oldest_code_that_is_not_in_use_is_deleted() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(&folder.path().join("cache")).expect("a cache");
        let all: Vec<_> = (0..5)
            .map(|number| code(&cache, number, 100 - u64::from(number)))
            .collect();
        let present = || all.iter().map(|digest| cache.is_cached(*digest)).collect::<Vec<_>>();
        // The two oldest are in use and just added.
        cache.set_in_use(vec![all[4]]);
        cache.limit(5000);
        cache.evict(all[3]).expect("it can be read");
        assert_eq!(present(), [true; 5], "the limit is obeyed");
        cache.limit(4999);
        cache.evict(all[3]).expect("it can be read");
        assert_eq!(present(), [true, true, false, true, true]);
        cache.limit(0);
        cache.evict(all[3]).expect("it can be read");
        assert_eq!(present(), [false, false, false, true, true]);
    }

    #[test]
    fn loading_code_marks_it_as_used() {
        let folder = tempfile::tempdir().expect("a folder");
        let engine = Engine::new(Limits::default()).expect("an engine");
        let cache = Cache::open(&folder.path().join("cache")).expect("a cache");
        let digest = cache.module(&engine, ROLE).expect("the rule is built in").digest();
        let path = cache.path_of(digest);
        let used = || fs::metadata(&path).and_then(|file| file.modified()).expect("a time");
        let file = fs::File::options().append(true).open(&path).expect("it is there");
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).expect("set");
        assert!(cache.get(&engine, digest).expect("the rule is built in").is_some());
        assert!(used() > std::time::SystemTime::UNIX_EPOCH);
    }

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
