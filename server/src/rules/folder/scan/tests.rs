//! What is promised of looking at the folder, one scan at a time.

use super::*;

const NOW: i64 = 4_000_000_000_000;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("written");
    }
    folder
}

fn seen(folder: &tempfile::TempDir) -> ScannedFiles {
    scan(folder.path(), 10, &ScannedFiles::new(), NOW).expect("it can be read")
}

fn wrong(folder: &tempfile::TempDir) -> String {
    match seen(folder).remove("a.wasm").map(|sight| sight.content) {
        Some(Content::Invalid(why)) => why,
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
        Content::Valid(digest) => *digest,
        Content::Invalid(why) => panic!("{why}"),
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
        matches!(seen(&ten)["a.wasm"].content, Content::Valid(_)),
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
    assert!(matches!(sights["b.wasm"].content, Content::Valid(_)));
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
    for number in 0..=MAX_FILES {
        fs::write(folder.path().join(format!("{number:04}.wasm")), "").expect("written");
    }
    let sights = seen(&folder);
    let wrong = |name: &str| matches!(sights[name].content, Content::Invalid(_));
    assert!(!wrong("0999.wasm") && wrong("1000.wasm"));
}

#[test]
fn a_file_is_read_again_until_it_is_old_and_then_when_it_changed() {
    let folder = folder(&[("a.wasm", "x")]);
    let path = folder.path().join("a.wasm");
    let changed = fs::metadata(&path).expect("it is there").ctime() * 1000;
    let mut before = seen(&folder);
    // What was remembered comes back only if nothing was read.
    let mark = Content::Invalid("remembered".to_owned());
    let mut is_remembered = |now_ms: i64| {
        let sight = before.get_mut("a.wasm").expect("it was seen");
        sight.is_old = sight.stamps[0].expect("it has one").is_old(now_ms);
        sight.content = mark.clone();
        scan(folder.path(), 10, &before, now_ms).expect("it can be read")["a.wasm"].content == mark
    };
    assert!(!is_remembered(changed + MIN_FILE_AGE_MS));
    assert!(is_remembered(changed + MIN_FILE_AGE_MS + 1));
    assert!(!is_remembered(changed - 1_000_000), "the clock was put back");
    fs::write(&path, "yy").expect("written");
    assert!(!is_remembered(NOW), "it has another length");
}
