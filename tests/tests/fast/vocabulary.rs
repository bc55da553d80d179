//! The vocabulary of code, messages and documents: words that hide a term of the field are found by file and line. The
//! table below names each with the term to use instead.

use std::fs;
use std::path::Path;

/// Each entry: the forms to find, of one word or of several in a row, and the terms to use instead.
const BANNED: [(&[&str], &str); 17] = [
    (
        &["told", "untold"],
        "reported, logged, result, message, row (say of what)",
    ),
    (
        &["tell", "tells", "telling"],
        "report, log, notify, show, state, distinguish",
    ),
    (&["brought"], "uploaded, built-in, supplied"),
    (&["bring", "brings", "bringing"], "upload, push, supply, include"),
    (&["put aside", "puts aside", "putting aside"], "quarantine, quarantined"),
    (&["aside"], "quarantined, staging, asynchronously"),
    (
        &["vouch", "vouches", "vouched", "vouching", "unvouched"],
        "sign, verify, trusted key",
    ),
    (
        &["let go", "lets go", "letting go"],
        "delete, prune (by retention), release",
    ),
    (&["whoever"], "the client, the operator, any process that"),
    (&["somebody", "somebodys"], "the client, the operator, another process"),
    (&["nobody", "nobodys"], "no client, no process, unknown"),
    (&["anew"], "again, from scratch, recreated"),
    (&["in force"], "active"),
    (
        &["stranger", "strangers"],
        "anonymous client, unknown certificate, untrusted component",
    ),
    (
        &[
            "take back",
            "takes back",
            "taken back",
            "taking back",
            "took back",
            "take it back",
            "take them back",
            "takes it back",
            "takes them back",
        ],
        "roll back, revert, revoke, free, read back",
    ),
    (
        &["heal", "heals", "healed", "healer", "healers", "healing"],
        "quarantine, recover",
    ),
    (&["ourselves"], "this process, the server itself"),
];

/// Files that are generated or of third parties, and this file.
/// A path is left out if it starts with one of these.
const LEFT_OUT: [&str; 5] = [
    "Cargo.lock",
    "server/assets/redoc/",
    "server/assets/swagger-ui/",
    "server/assets/NOTICE",
    "tests/tests/fast/vocabulary.rs",
];

/// Folders that are not part of the repository, wherever they are.
const UNTRACKED: [&str; 10] = [
    ".git",
    "target",
    "watchpost-data",
    "node_modules",
    ".tools",
    "__pycache__",
    "artifacts",
    "bindings",
    "build",
    "corpus",
];

/// A line with one of these means the Unix user `nobody`.
const UNIX_USER: [&str; 2] = ["--user=nobody", "65534"];

struct Word<'t> {
    text: &'t str,
    /// The byte of the file at which the word begins.
    start: usize,
}

/// The words of a text: runs of letters and digits, split at `_` and where camel case begins a new word.
fn words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut start = None;
    let mut before = ' ';
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        let next = letters.peek().map_or(' ', |(_, next)| *next);
        let begins_camel =
            letter.is_uppercase() && (before.is_lowercase() || before.is_uppercase() && next.is_lowercase());
        if !letter.is_alphanumeric() || begins_camel {
            words.extend(start.take().map(|start| Word {
                text: &text[start..at],
                start,
            }));
        }
        if letter.is_alphanumeric() && start.is_none() {
            start = Some(at);
        }
        before = letter;
    }
    words.extend(start.map(|start| Word {
        text: &text[start..],
        start,
    }));
    words
}

/// Whether two words stand in a row: with a space, `_` or `-` between them, in camel case, or over the end of a line,
/// where the next line may begin with the signs of a comment.
fn in_a_row(text: &str, first: &Word<'_>, second: &Word<'_>) -> bool {
    let between = &text[first.start + first.text.len()..second.start];
    let is_margin = |letter: char| letter.is_whitespace() || "/!#*>|\\".contains(letter);
    matches!(between, "" | " " | "_" | "-") || between.contains('\n') && between.chars().all(is_margin)
}

/// Whether a sequence of words starts with a phrase, in any case.
fn begins_with(text: &str, words: &[Word<'_>], phrase: &str) -> bool {
    let mut last: Option<&Word<'_>> = None;
    let mut rest = words.iter();
    phrase.split(' ').all(|part| {
        let Some(word) = rest.next() else { return false };
        let follows = last.is_none_or(|last| in_a_row(text, last, word));
        last = Some(word);
        follows && word.text.eq_ignore_ascii_case(part)
    })
}

/// Every banned word of a text: the number of its line, the word, and the terms to use instead.
fn banned(text: &str) -> Vec<(usize, &'static str, &'static str)> {
    let words = words(text);
    let mut found = Vec::new();
    for at in 0..words.len() {
        let initial = words[at].text.as_bytes()[0].to_ascii_lowercase();
        let phrase = BANNED
            .iter()
            .flat_map(|(forms, terms)| forms.iter().map(move |form| (*form, *terms)))
            .find(|(form, _)| form.as_bytes()[0] == initial && begins_with(text, &words[at..], form));
        if let Some((form, terms)) = phrase {
            let line = text[..words[at].start].matches('\n').count() + 1;
            found.push((line, form, terms));
        }
    }
    found
}

/// Whether a line may name what is banned: the list of renames in the changelog maps old names to new ones, the last
/// column of the glossary lists the words to avoid, and `nobody` may be a user.
fn is_excepted(path: &str, line: &str, form: &str) -> bool {
    let is_table = line.trim_start().starts_with('|');
    let is_rename = line.contains("→") || line.contains("->") || is_table;
    match path {
        "CHANGELOG.md" if is_rename => true,
        "docs/GLOSSARY.md" if is_table => {
            let avoided = line.trim().trim_end_matches('|').rsplit('|').next().unwrap_or_default();
            banned(&line.replacen(avoided, "", 1)).is_empty()
        }
        _ => form == "nobody" && UNIX_USER.iter().any(|user| line.contains(user)),
    }
}

/// The text files of the repository below a folder, as paths from its root and contents.
fn files(root: &Path, folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("a folder of the repository").flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let relative = path.strip_prefix(root).expect("below the root").display().to_string();
        if LEFT_OUT.iter().any(|left_out| relative.starts_with(left_out)) || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            if !UNTRACKED.iter().any(|untracked| name == *untracked) {
                files(root, &path, found);
            }
        } else if let Ok(text) = String::from_utf8(fs::read(&path).unwrap_or_default())
            && !text.contains('\0')
        {
            found.push((relative, text));
        }
    }
}

#[test]
fn code_messages_and_documents_use_the_terms_of_the_field() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut texts = Vec::new();
    files(&root, &root, &mut texts);
    texts.sort();
    assert!(texts.iter().any(|(path, _)| path == "README.md"), "the tree is read");
    let mut complaints = Vec::new();
    for (path, text) in &texts {
        let lines: Vec<&str> = text.lines().collect();
        for (number, form, terms) in banned(text) {
            if !is_excepted(path, lines[number - 1], form) {
                complaints.push(format!("{path}:{number}: \"{form}\"; use: {terms}"));
            }
        }
        // A name that is banned in a text is banned for a file too.
        for (_, form, terms) in banned(path) {
            complaints.push(format!("{path}: \"{form}\" in the name of the file; use: {terms}"));
        }
    }
    let count = complaints.len();
    assert!(
        complaints.is_empty(),
        "{count} banned words:\n{}",
        complaints.join("\n")
    );
}

#[test]
fn banned_words_are_found_in_every_form() {
    let forms = [
        ("let is_told_twice = 1;", "told"),
        ("fn bring_and_activate()", "bring"),
        ("struct ToldDecision;", "told"),
        ("const WHO_VOUCHES: u8 = 1;", "vouches"),
        ("let putAside = 1;", "put aside"),
        ("rules_put_aside", "put aside"),
        ("letGo()", "let go"),
        ("HTTPStranger", "stranger"),
        ("error(\"nobody is trusted\")", "nobody"),
        ("// Whoever asks, waits.", "whoever"),
        ("/// The rule in force.", "in force"),
        ("/// What is in\n/// force.", "in force"),
        ("# A file is read anew.", "anew"),
        ("- **Somebody** else\n", "somebody"),
        ("a key that was taken back", "taken back"),
        ("the rule healer", "healer"),
        ("we are ourselves", "ourselves"),
        ("`tells`", "tells"),
    ];
    for (text, form) in forms {
        let found: Vec<_> = banned(text).into_iter().map(|(_, found, _)| found).collect();
        assert!(found.contains(&form), "{text:?}: {found:?}");
    }
    let second = banned("# Title\n\nIt is brought.\n");
    assert_eq!(
        second.first().map(|(line, form, _)| (*line, *form)),
        Some((3, "brought"))
    );
}

#[test]
fn ordinary_words_are_not_banned() {
    for text in [
        "the health of the host, HealthReport, is_healthy",
        "to foretell, a storyteller, a satellite",
        "inside, besides, the side",
        "an operator may enforce --force in the end; in --force, in `force`",
        "a newer version; let gossip; strange",
        "ringing, bringup",
        "take the backup",
    ] {
        assert_eq!(banned(text), [], "{text}");
    }
}

#[test]
fn the_lists_of_avoided_words_may_name_them() {
    let row = "| quarantined | taken out of use because it fails | put aside |";
    assert!(is_excepted("docs/GLOSSARY.md", row, "put aside"));
    assert!(!is_excepted(
        "docs/GLOSSARY.md",
        "| quarantined | put aside | heal |",
        "put aside"
    ));
    assert!(!is_excepted("docs/API.md", row, "put aside"));
    assert!(is_excepted(
        "CHANGELOG.md",
        "- `put_aside` → `quarantined`",
        "put aside"
    ));
    assert!(!is_excepted(
        "CHANGELOG.md",
        "- a failing rule is put aside",
        "put aside"
    ));
}
