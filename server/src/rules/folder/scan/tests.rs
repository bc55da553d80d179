//! Tests of a single scan of the folder.

use super::*;

const NOW: i64 = 4_000_000_000_000;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("written");
    }
    folder
}

fn scan_folder(folder: &tempfile::TempDir) -> ScannedFiles {
    scan(folder.path(), 10, &ScannedFiles::new(), NOW).expect("it can be read")
}

fn wrong(folder: &tempfile::TempDir) -> String {
    match scan_folder(folder).remove("a.wasm").map(|file| file.content) {
        Some(Content::Invalid(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_visible_components_are_scanned() {
    let folder = folder(&[("a.wasm", ""), (".b.wasm", ""), ("c.txt", ""), ("d.wasm.sig", "")]);
    fs::create_dir(folder.path().join("..data")).expect("made");
    let names: Vec<_> = scan_folder(&folder).into_keys().collect();
    assert_eq!(names, ["a.wasm"]);
}

#[test]
fn the_digest_covers_settings_and_signature() {
    let folder = folder(&[("a.wasm", "x")]);
    let digest = || match &scan_folder(&folder)["a.wasm"].content {
        Content::Valid(digest) => *digest,
        Content::Invalid(reason) => panic!("{reason}"),
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
    assert!(read.contains("a.toml is invalid: line 1"), "{read}");
    fs::write(folder.path().join("a.toml"), "a = 1").expect("written");
    all.push(digest());
    let different: std::collections::BTreeSet<_> = all.iter().map(ToString::to_string).collect();
    assert_eq!(different.len(), all.len());
}

#[test]
fn an_error_names_the_file() {
    let check = |files: &[(&str, &str)], part: &str| {
        let reason = wrong(&folder(files));
        assert!(reason.contains(part), "{reason}");
    };
    check(&[("a.wasm", "0123456789x")], "a.wasm is larger than 10 bytes");
    check(&[("a.wasm", ""), ("a.json", "[]")], "a.json is not a JSON object");
    check(
        &[("a.wasm", ""), ("a.json", "{}"), ("a.toml", "")],
        "delete one of them",
    );
    check(
        &[("a.wasm", ""), ("a.wasm.sig", "no")],
        "a.wasm.sig: a signature is 64 bytes",
    );
    let ten = folder(&[("a.wasm", "0123456789")]);
    assert!(
        matches!(scan_folder(&ten)["a.wasm"].content, Content::Valid(_)),
        "as many as are allowed"
    );
}

#[test]
fn links_are_followed_and_dangling_links_are_errors() {
    let folder = folder(&[("a.wasm", "x"), ("..one", "x")]);
    let link = |from: &str, to: &str| {
        std::os::unix::fs::symlink(to, folder.path().join(from)).expect("linked");
    };
    link("b.wasm", "..one");
    link("a.json", "nowhere");
    let files = scan_folder(&folder);
    assert!(matches!(files["b.wasm"].content, Content::Valid(_)));
    assert!(wrong(&folder).contains("a.json cannot be read"), "it had settings");
}

#[test]
fn only_regular_files_are_opened() {
    let folder = folder(&[]);
    fs::create_dir(folder.path().join("a.wasm")).expect("made");
    assert!(wrong(&folder).contains("not a regular file"));
}

#[test]
fn rules_over_the_limit_are_ignored() {
    let folder = tempfile::tempdir().expect("a folder");
    for number in 0..=MAX_FILES {
        fs::write(folder.path().join(format!("{number:04}.wasm")), "").expect("written");
    }
    let files = scan_folder(&folder);
    let wrong = |name: &str| matches!(files[name].content, Content::Invalid(_));
    assert!(!wrong("0999.wasm") && wrong("1000.wasm"));
}

#[test]
fn a_file_is_read_again_until_it_is_old_and_then_when_it_changed() {
    let folder = folder(&[("a.wasm", "x")]);
    let path = folder.path().join("a.wasm");
    let changed = fs::metadata(&path).expect("it is there").ctime() * 1000;
    let mut before = scan_folder(&folder);
    // The remembered content is returned only if the file was not read.
    let mark = Content::Invalid("cached".to_owned());
    let mut is_remembered = |now_ms: i64| {
        let file = before.get_mut("a.wasm").expect("it was scanned");
        file.is_old = file.stamps[0].expect("it has one").is_old(now_ms);
        file.content = mark.clone();
        scan(folder.path(), 10, &before, now_ms).expect("it can be read")["a.wasm"].content == mark
    };
    assert!(!is_remembered(changed + MIN_FILE_AGE_MS));
    assert!(is_remembered(changed + MIN_FILE_AGE_MS + 1));
    assert!(!is_remembered(changed - 1_000_000), "the clock went backwards");
    fs::write(&path, "yy").expect("written");
    assert!(!is_remembered(NOW), "it has another length");
}
