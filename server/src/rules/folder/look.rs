//! What lies in the folder: components, and their settings and signatures beside them. It reads and compares; what
//! becomes of a rule is not known here.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use actix_web::web::Bytes;
use serde_json::{Map, Value};
use watchpost_policies::Digest;

use crate::config::settings_of_toml;
use crate::rules::provenance::Signature;

/// What is in a file may change once more without a trace in its times: those of most file systems tick some hundred
/// times a second, of the coarsest every two seconds.
const TOO_YOUNG_MS: i64 = 3000;

/// Settings are for people to write.
const LARGEST_SETTINGS: usize = 1024 * 1024;

/// 64 bytes, or the same as text.
const LARGEST_SIGNATURE: usize = 1024;

/// A report with findings of so many rules is read by nobody.
pub(super) const MOST: usize = 1000;

/// What was seen of all rules in the folder, by the names of their files.
pub(super) type Sights = BTreeMap<String, Sight>;

/// What was seen of one rule.
#[derive(Clone, Debug)]
pub(super) struct Sight {
    /// Of the component, of `.json`, of `.toml` and of `.sig`.
    stamps: [Option<Stamp>; 4],
    /// Whether nothing can have changed since without another stamp.
    is_old: bool,
    /// What stands there.
    pub(super) content: Content,
}

/// What stands in a file and in those beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Something that may be a rule.
    Whole(Digest),
    /// Something that is none, whatever is in the component.
    Wrong(String),
}

/// A rule as it lies there.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) wasm: Bytes,
    pub(super) settings: Option<Map<String, Value>>,
    pub(super) signature: Option<Signature>,
    /// Of all of it.
    pub(super) digest: Digest,
}

/// How a file was. It says only whether reading it again can be spared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn is_old(&self, now_ms: i64) -> bool {
        let seconds = self.modified.0.max(self.changed.0);
        seconds.saturating_mul(1000) < now_ms - TOO_YOUNG_MS
    }
}

/// Looks at everything. What has the stamps that it had before, and had them for long enough, is not read again.
pub(super) fn look(folder: &Path, largest: usize, before: &Sights, now_ms: i64) -> io::Result<Sights> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        // Kubernetes keeps what its links lead to under names that begin with dots, and others keep there what is not
        // whole yet.
        let name = entry?.file_name().into_string().ok();
        names.extend(name.filter(|name| name.ends_with(".wasm") && !name.starts_with('.')));
    }
    names.sort_unstable();
    let sights = names.into_iter().enumerate().map(|(at, name)| {
        let seen = match at < MOST {
            true => sight(folder, &name, largest, before.get(&name), now_ms),
            false => Sight::wrong(format!(
                "the folder has more than {MOST} rules, and this is one too many"
            )),
        };
        (name, seen)
    });
    Ok(sights.collect())
}

fn sight(folder: &Path, name: &str, largest: usize, before: Option<&Sight>, now_ms: i64) -> Sight {
    let mut stamps = [None; 4];
    for (place, beside) in stamps.iter_mut().zip(files_of(name)) {
        match stamp(&folder.join(&beside)) {
            Ok(stamp) => *place = stamp,
            Err(error) => return Sight::wrong(format!("{beside} cannot be read: {error}")),
        }
    }
    if let Some(same) = before.filter(|before| before.is_old && before.stamps == stamps) {
        return same.clone();
    }
    Sight {
        stamps,
        is_old: stamps.iter().flatten().all(|stamp| stamp.is_old(now_ms)),
        content: match read(folder, name, largest) {
            Ok(found) => Content::Whole(found.digest),
            Err(why) => Content::Wrong(why),
        },
    }
}

impl Sight {
    fn wrong(why: String) -> Self {
        Self {
            stamps: [None; 4],
            is_old: false,
            content: Content::Wrong(why),
        }
    }
}

/// A link that leads nowhere is not the same as nothing: what it led to may be back in a moment.
fn stamp(path: &Path) -> io::Result<Option<Stamp>> {
    let told = match fs::metadata(path) {
        Ok(told) => told,
        Err(error) if error.kind() == ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => return Ok(None),
        Err(error) => return Err(error),
    };
    // A pipe would be waited for without an end.
    if !told.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    Ok(Some(Stamp {
        device: told.dev(),
        inode: told.ino(),
        bytes: told.size(),
        modified: (told.mtime(), told.mtime_nsec()),
        changed: (told.ctime(), told.ctime_nsec()),
    }))
}

/// Reads a rule with what is beside it, or says what is wrong.
pub(super) fn read(folder: &Path, name: &str, largest: usize) -> Result<Found, String> {
    let [component, json, toml, signature] = files_of(name);
    let Some(wasm) = bytes(folder, &component, largest)? else {
        return Err("it is gone".to_owned());
    };
    let by_json = bytes(folder, &json, LARGEST_SETTINGS)?;
    let by_toml = bytes(folder, &toml, LARGEST_SETTINGS)?;
    let signed = bytes(folder, &signature, LARGEST_SIGNATURE)?;
    let parts = [Some(&wasm), by_json.as_ref(), by_toml.as_ref(), signed.as_ref()];
    let digests = parts.map(|part| part.map_or([0; 32], |part| *Digest::of(part).as_bytes()));
    let settings = match (by_json, by_toml) {
        (Some(_), Some(_)) => return Err(format!("there are {json} and {toml}; keep one of them")),
        (Some(text), None) => Some(
            serde_json::from_slice(&text).map_err(|error| format!("{json} is no JSON object: {error}; correct it"))?,
        ),
        (None, Some(text)) => Some(of_toml(text).map_err(|why| format!("{toml} cannot be read: {why}; correct it"))?),
        (None, None) => None,
    };
    let signed = signed.map(|bytes| Signature::read(&bytes));
    Ok(Found {
        digest: Digest::of(digests.as_flattened()),
        wasm: wasm.into(),
        settings,
        signature: signed.transpose().map_err(|error| format!("{signature}: {error}"))?,
    })
}

/// The component, its settings in either form, and its signature.
fn files_of(name: &str) -> [String; 4] {
    let stem = name.strip_suffix(".wasm").unwrap_or(name);
    [
        name.to_owned(),
        format!("{stem}.json"),
        format!("{stem}.toml"),
        format!("{name}.sig"),
    ]
}

fn of_toml(text: Vec<u8>) -> Result<Map<String, Value>, String> {
    let text = String::from_utf8(text).map_err(|_| "it is no text".to_owned())?;
    settings_of_toml(&text)
}

/// All bytes, but no more than these; nothing where there is no file.
fn bytes(folder: &Path, name: &str, most: usize) -> Result<Option<Vec<u8>>, String> {
    let path = folder.join(name);
    let told = |error: io::Error| format!("{name} cannot be read: {error}");
    if stamp(&path).map_err(told)?.is_none() {
        return Ok(None);
    }
    let mut all = Vec::new();
    let file = File::open(&path).map_err(told)?;
    file.take(most as u64 + 1).read_to_end(&mut all).map_err(told)?;
    if all.len() > most {
        return Err(format!(
            "{name} has more than {most} bytes, which are the most that are taken"
        ));
    }
    Ok(Some(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 4_000_000_000_000;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            fs::write(folder.path().join(name), text).expect("written");
        }
        folder
    }

    fn seen(folder: &tempfile::TempDir) -> Sights {
        look(folder.path(), 10, &Sights::new(), NOW).expect("it can be read")
    }

    fn wrong(folder: &tempfile::TempDir) -> String {
        match seen(folder).remove("a.wasm").map(|sight| sight.content) {
            Some(Content::Wrong(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_components_are_seen_and_nothing_that_hides() {
        let folder = folder(&[("a.wasm", ""), (".b.wasm", ""), ("c.txt", ""), ("d.wasm.sig", "")]);
        fs::create_dir(folder.path().join("..data")).expect("made");
        let names: Vec<_> = seen(&folder).into_keys().collect();
        assert_eq!(names, ["a.wasm"]);
    }

    #[test]
    fn a_rule_is_another_one_by_whatever_is_beside_it() {
        let folder = folder(&[("a.wasm", "x")]);
        let digest = || match &seen(&folder)["a.wasm"].content {
            Content::Whole(digest) => *digest,
            Content::Wrong(why) => panic!("{why}"),
        };
        let mut all = vec![digest()];
        for (name, text) in [
            ("a.json", "{}"),
            ("a.json", "{\"a\": 1}"),
            ("a.wasm.sig", &"s".repeat(64)),
            ("a.wasm", "y"),
        ] {
            fs::write(folder.path().join(name), text).expect("written");
            all.push(digest());
        }
        fs::remove_file(folder.path().join("a.json")).expect("it was there");
        all.push(digest());
        fs::write(folder.path().join("a.toml"), "{}").expect("written");
        let read = read(folder.path(), "a.wasm", 10).expect_err("no TOML");
        assert!(read.contains("a.toml cannot be read: line 1"), "{read}");
        fs::write(folder.path().join("a.toml"), "a = 1").expect("written");
        all.push(digest());
        let different: std::collections::BTreeSet<_> = all.iter().map(ToString::to_string).collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn what_is_wrong_is_told_by_the_file_it_is_in() {
        let check = |files: &[(&str, &str)], told: &str| {
            let why = wrong(&folder(files));
            assert!(why.contains(told), "{why}");
        };
        check(&[("a.wasm", "0123456789x")], "a.wasm has more than 10 bytes");
        check(&[("a.wasm", ""), ("a.json", "[]")], "a.json is no JSON object");
        check(&[("a.wasm", ""), ("a.json", "{}"), ("a.toml", "")], "keep one of them");
        check(
            &[("a.wasm", ""), ("a.wasm.sig", "no")],
            "a.wasm.sig: a signature is 64 bytes",
        );
        let ten = folder(&[("a.wasm", "0123456789")]);
        assert!(
            matches!(seen(&ten)["a.wasm"].content, Content::Whole(_)),
            "as many as are allowed"
        );
    }

    #[test]
    fn links_are_followed_and_those_that_lead_nowhere_are_wrong() {
        let folder = folder(&[("a.wasm", "x"), ("..one", "x")]);
        let link = |from: &str, to: &str| {
            std::os::unix::fs::symlink(to, folder.path().join(from)).expect("linked");
        };
        link("b.wasm", "..one");
        link("a.json", "nowhere");
        let sights = seen(&folder);
        assert!(matches!(sights["b.wasm"].content, Content::Whole(_)));
        assert!(wrong(&folder).contains("a.json cannot be read"), "it had settings");
    }

    #[test]
    fn what_is_no_file_is_not_opened() {
        let folder = folder(&[]);
        fs::create_dir(folder.path().join("a.wasm")).expect("made");
        assert!(wrong(&folder).contains("it is no file"));
    }

    #[test]
    fn one_rule_too_many_is_not_looked_at() {
        let folder = tempfile::tempdir().expect("a folder");
        for number in 0..=MOST {
            fs::write(folder.path().join(format!("{number:04}.wasm")), "").expect("written");
        }
        let sights = seen(&folder);
        let wrong = |name: &str| matches!(sights[name].content, Content::Wrong(_));
        assert!(!wrong("0999.wasm") && wrong("1000.wasm"));
    }

    #[test]
    fn a_file_is_read_again_until_it_is_old_and_then_when_it_changed() {
        let folder = folder(&[("a.wasm", "x")]);
        let path = folder.path().join("a.wasm");
        let changed = fs::metadata(&path).expect("it is there").ctime() * 1000;
        let mut before = seen(&folder);
        // What was remembered comes back only if nothing was read.
        let mark = Content::Wrong("remembered".to_owned());
        let mut is_remembered = |now_ms: i64| {
            let sight = before.get_mut("a.wasm").expect("it was seen");
            sight.is_old = sight.stamps[0].expect("it has one").is_old(now_ms);
            sight.content = mark.clone();
            look(folder.path(), 10, &before, now_ms).expect("it can be read")["a.wasm"].content == mark
        };
        assert!(!is_remembered(changed + TOO_YOUNG_MS));
        assert!(is_remembered(changed + TOO_YOUNG_MS + 1));
        assert!(!is_remembered(changed - 1_000_000), "the clock was put back");
        fs::write(&path, "yy").expect("written");
        assert!(!is_remembered(NOW), "it has another length");
    }
}
