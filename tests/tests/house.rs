//! The house is as its documents say: what may know what, what is in which table.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use watchpost_policies::{Action, Limits};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every Rust file below a folder, with its text.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder)
            .expect("the folder is there")
            .filter_map(Result::ok)
        {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    assert!(!found.is_empty(), "{folder} has sources");
    let with_text = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("it can be read");
        (path, text)
    };
    found.into_iter().map(with_text).collect()
}

#[test]
fn policies_are_built_without_anything_that_could_reach_out() {
    let tree = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--package",
            "watchpost-policies",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--locked",
        ])
        .args(["--format", "{p}"])
        .current_dir(root())
        .output()
        .expect("cargo is there");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8_lossy(&tree.stdout);
    let names: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains("wasmtime"), "the tree was read");
    let forbidden = [
        "actix", "diesel", "awc", "openssl", "tokio", "sysinfo", "reqwest", "hyper",
    ];
    let found: Vec<_> = (names.iter())
        .filter(|name| {
            forbidden
                .iter()
                .any(|forbidden| name.split(['-', '_']).next() == Some(forbidden))
        })
        .collect();
    assert!(found.is_empty(), "{found:?}");
    assert!(
        !names.contains("wasmtime-wasi"),
        "a rule reaches nothing, so nothing is linked"
    );
}

#[test]
fn only_the_engine_and_the_bindings_know_wasmtime() {
    for (path, text) in sources("policies/src").into_iter().chain(sources("server/src")) {
        let allowed = path.components().any(|part| part.as_os_str() == "engine") || path.ends_with("bindings.rs");
        assert!(allowed || !text.contains("wasmtime::"), "{}", path.display());
    }
}

#[test]
fn policies_open_nothing_and_do_not_ask_what_time_it_is() {
    for (path, text) in sources("policies/src") {
        for word in ["std::fs", "std::net", "SystemTime", "std::env", "std::process"] {
            assert!(!text.contains(word), "{} says {word}", path.display());
        }
    }
}

#[test]
fn unsafe_code_stands_where_the_architecture_says() {
    let known = [
        "engine/artefact.rs",
        "sdk/src/arena.rs",
        "sdk/src/last_words.rs",
        "guests/hostile/src/lib.rs",
    ];
    let all = ["policies", "server", "wasm-rules", "tests"].map(sources);
    for (path, text) in all.into_iter().flatten() {
        let closely: String = text.split_whitespace().collect();
        let expects = closely.contains(concat!("expect(", "unsafe_code"));
        let is_known = known.iter().any(|known| path.ends_with(known));
        assert_eq!(expects, is_known, "{}", path.display());
    }
}

#[test]
fn every_file_says_first_what_it_is() {
    for (path, text) in ["policies", "server", "wasm-rules", "tests"]
        .map(sources)
        .into_iter()
        .flatten()
    {
        let generated = path.components().any(|part| part.as_os_str() == "target");
        assert!(generated || text.starts_with("//! "), "{}", path.display());
    }
}

#[test]
fn the_table_of_limits_is_true() {
    let document = read("docs/RULES.md");
    let serde_json::Value::Object(limits) = serde_json::to_value(Limits::default()).expect("it is JSON") else {
        panic!("limits have fields");
    };
    for (name, default) in limits {
        let row = format!("| `{name}` | {default} |");
        assert!(document.contains(&row), "docs/RULES.md lacks {row}");
    }
}

#[test]
fn the_table_of_actions_is_true() {
    let document = read("docs/RULES.md");
    for action in Action::ALL {
        assert!(
            document.contains(&format!("| `{action}` |")),
            "docs/RULES.md lacks {action}"
        );
    }
    let rows = document.lines().filter(|line| {
        let name = line.strip_prefix("| `").and_then(|rest| rest.split('`').next());
        name.is_some_and(|name| name.contains('.'))
    });
    assert_eq!(rows.count(), Action::ALL.len());
}

#[test]
fn links_between_documents_lead_somewhere() {
    let documents = [
        "README.md",
        "docs/ARCHITECTURE.md",
        "docs/RULES.md",
        "docs/ADDING.md",
        "docs/PERFORMANCE.md",
        "policies/wit/EVOLUTION.md",
        "wasm-rules/examples/README.md",
    ];
    for document in documents {
        let folder = root().join(document);
        let folder = folder.parent().expect("a document lies in a folder");
        for link in read(document)
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let path = link.split('#').next().unwrap_or_default();
            let elsewhere = path.is_empty() || path.contains("://");
            assert!(elsewhere || folder.join(path).exists(), "{document} links to {link}");
        }
    }
}
