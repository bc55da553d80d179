//! A template of the data folder, created once for each build of the program. Servers of tests start with a copy,
//! because generating keys and compiling rules takes longer than most tests.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::server::{Server, program};

/// The parts of a copy: keys and certificates, and compiled rules with the key of their seals. The database is not
/// copied, because each server has its own identity and history.
const COPIED: [&str; 3] = ["pki", "cache", "cache.key"];

/// The suffix of a template that is not complete yet.
const UNFINISHED: &str = "unfinished";

const LOCK: &str = "lock";

/// Creates a data folder with keys and compiled rules.
pub fn copy_to(data: &Path) {
    let template = template();
    DirBuilder::new().mode(0o700).create(data).expect("there is none yet");
    for name in COPIED {
        copy(&template.join(name), &data.join(name));
    }
}

fn template() -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        // Beside the program, so that builds with another profile keep their own.
        let folder = program().with_file_name("test-data");
        ensure(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
    })
}

/// The template of the current build. The first test that needs it creates it, others wait, and templates of earlier
/// builds are removed.
fn ensure(folder: &Path) -> std::io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let lock = File::create(folder.join(LOCK))?;
    lock.lock()?;
    let build = fs::metadata(program())?;
    let name = format!("{}-{}-{}", build.mtime(), build.mtime_nsec(), build.size());
    let template = folder.join(&name);
    if template.is_dir() {
        return Ok(template);
    }
    // This also removes incomplete templates of killed processes: only the holder of the lock creates one.
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    let server = Server::fresh("").ready();
    let unfinished = folder.join(UNFINISHED);
    DirBuilder::new().mode(0o700).create(&unfinished)?;
    let stopped = server.stop();
    for name in COPIED {
        copy(&stopped.path().join("data").join(name), &unfinished.join(name));
    }
    fs::rename(&unfinished, &template)?;
    Ok(template)
}

/// Copies a file, or a folder recursively, and keeps the modes, because keys must stay private.
fn copy(from: &Path, to: &Path) {
    let copied = || {
        if from.is_file() {
            return fs::copy(from, to).map(drop);
        }
        DirBuilder::new().mode(0o700).create(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let target = to.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                copy(&entry.path(), &target);
            } else {
                fs::copy(entry.path(), target)?;
            }
        }
        fs::set_permissions(to, fs::metadata(from)?.permissions())
    };
    copied().unwrap_or_else(|error| panic!("a copy of {}: {error}", from.display()));
}
