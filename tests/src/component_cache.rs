//! A cache of components that the toolchains of other languages build, in the target folder, because a build takes ten
//! seconds or more. A component is rebuilt when one of its sources changes.

use std::fs;
use std::path::{Path, PathBuf};

use openssl::sha::Sha256;

use crate::server::tools;

/// The component that is built from these files and folders: its source, the contract, and the list of pinned tools. If
/// it is not cached yet, `make` builds it at the given path.
pub fn cached(inputs: &[PathBuf], make: impl FnOnce(&Path)) -> Vec<u8> {
    in_folder(&tools().with_file_name("components"), inputs, make)
}

fn in_folder(folder: &Path, inputs: &[PathBuf], make: impl FnOnce(&Path)) -> Vec<u8> {
    let mut hash = Sha256::new();
    for input in inputs {
        add(&mut hash, input);
    }
    let name: String = hash.finish().map(|byte| format!("{byte:02x}")).concat();
    let kept = folder.join(format!("{name}.wasm"));
    if !kept.exists() {
        fs::create_dir_all(folder).expect("the target folder can be written");
        // Two processes may build the same component; each writes its own file.
        let unfinished = folder.join(format!("{name}.{}.new", std::process::id()));
        make(&unfinished);
        fs::rename(&unfinished, &kept).expect("the component was made");
    }
    fs::read(&kept).unwrap_or_else(|error| panic!("{}: {error}", kept.display()))
}

/// The hash includes names and lengths, so that different inputs cannot have the same bytes.
fn add(hash: &mut Sha256, path: &Path) {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let mut part = |bytes: &[u8]| {
        hash.update(&bytes.len().to_le_bytes());
        hash.update(bytes);
    };
    part(name);
    if path.is_dir() {
        let entries = fs::read_dir(path).expect("readable");
        let mut entries: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
        entries.sort();
        part(&entries.len().to_le_bytes());
        for entry in entries {
            add(hash, &entry);
        }
    } else {
        part(&fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_made_once_for_each_source() {
        let folder = tempfile::tempdir().expect("a folder");
        let source = folder.path().join("source");
        fs::create_dir(&source).expect("made");
        let kept = folder.path().join("components");
        let mut made = 0;
        let mut get = |text: &str| {
            fs::write(source.join("rule.py"), text).expect("written");
            let make = |path: &Path| {
                made += 1;
                fs::write(path, format!("{made} of {text}")).expect("written");
            };
            String::from_utf8(in_folder(&kept, std::slice::from_ref(&source), make)).expect("text")
        };
        assert_eq!(get("a"), "1 of a");
        assert_eq!(get("b"), "2 of b");
        assert_eq!(get("a"), "1 of a");
        assert_eq!(made, 2);
    }
}
