//! Tests of the documents: their tables agree with the code, and their links lead somewhere.

use std::collections::BTreeSet;
use std::path::Path;

use watchpost_policies::{Action, Engine, Limits};

use super::architecture::{read, root};

#[test]
fn the_table_of_limits_is_true() {
    let document = read("docs/WRITING-RULES.md");
    let serde_json::Value::Object(limits) = serde_json::to_value(Limits::default()).expect("it is JSON") else {
        panic!("limits have fields");
    };
    for (name, default) in limits {
        let row = format!("| `{name}` | {default} |");
        assert!(document.contains(&row), "docs/WRITING-RULES.md lacks {row}");
    }
}

#[test]
fn the_table_of_actions_is_true() {
    let document = read("docs/RULES.md");
    for action in Action::ALL {
        let is_listed = document.contains(&format!("| `{action}` |"));
        assert_eq!(
            is_listed,
            !action.is_reserved(),
            "docs/RULES.md: the table of actions and {action}"
        );
        // The sentence about reserved actions names the others.
        assert!(
            document.contains(&format!("`{action}`")),
            "docs/RULES.md lacks {action}"
        );
    }
    let rows = document.lines().filter(|line| {
        let name = line.strip_prefix("| `").and_then(|rest| rest.split('`').next());
        name.is_some_and(|name| name.contains('.'))
    });
    let in_use = Action::ALL.iter().filter(|action| !action.is_reserved());
    assert_eq!(rows.count(), in_use.count());
}

/// A row starts with the sentence of the fault, with an ellipsis for each parameter.
#[test]
fn the_table_of_faults_is_true() {
    let document = read("docs/WRITING-RULES.md");
    let source = read("policies/src/fault.rs");
    let from = source.find("pub enum Misbehaviour").expect("it is there");
    let all = &source[from..][..source[from..].find("\n}\n").expect("it ends")];
    let sentences: Vec<_> = all.split("#[error(\"").skip(1).map(sentence).collect();
    let variants = all.lines().filter(|line| {
        let letters = line.strip_prefix("    ").unwrap_or_default();
        letters.starts_with(|letter: char| letter.is_ascii_uppercase())
    });
    assert_eq!(sentences.len(), variants.count(), "every variant has a sentence");
    assert!(sentences.len() >= 18, "{sentences:?}");
    for sentence in sentences {
        assert!(
            document.contains(&format!("| {sentence} |")),
            "docs/WRITING-RULES.md lacks | {sentence} |"
        );
    }
}

/// The text of an `error` attribute up to its closing quote, with one ellipsis for each parameter.
fn sentence(attribute: &str) -> String {
    let format = attribute.split('"').next().unwrap_or_default();
    let mut plain = String::new();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('{') {
        plain.push_str(before);
        plain.push('…');
        rest = after.split_once('}').map_or("", |(_, rest)| rest);
    }
    plain.push_str(rest);
    // Adjacent parameters are one ellipsis.
    plain.replace("… …", "…").replace("……", "…")
}

/// The documented range of each limit is checked with values outside of it.
#[test]
fn the_ranges_of_limits_are_true() {
    let document = read("docs/WRITING-RULES.md");
    let serde_json::Value::Object(limits) = serde_json::to_value(Limits::default()).expect("it is JSON") else {
        panic!("limits have fields");
    };
    let ranges = limits.iter().filter_map(|(name, default)| {
        let row = document.split(&format!("| `{name}` | {default} |")).nth(1)?;
        let row = row.split('\n').next()?;
        let (min, max) = row.split_once("; from ")?.1.split_once(" to ")?;
        Some((
            name,
            min.parse::<u64>().ok()?,
            max.trim_end_matches(" |").parse::<u64>().ok()?,
        ))
    });
    let ranges: Vec<_> = ranges.collect();
    assert_eq!(ranges.len(), 8, "{ranges:?}");
    let refused = |name: &String, value: u64| {
        let mut changed = limits.clone();
        changed.insert(name.clone(), value.into());
        let changed: Limits = serde_json::from_value(changed.into()).expect("they are limits");
        Engine::new(changed).expect_err("refused").to_string()
    };
    for (name, min, max) in ranges {
        for outside in [min - 1, max + 1] {
            let expected = format!("the limit {name} is {outside}; it must be between {min} and {max}");
            assert_eq!(refused(name, outside), expected);
        }
    }
}

#[test]
fn links_between_documents_are_valid() {
    let documents = [
        "README.md",
        "docs/API.md",
        "docs/ARCHITECTURE.md",
        "docs/CONFIGURATION.md",
        "docs/DEPLOYMENT.md",
        "docs/GLOSSARY.md",
        "docs/RULES.md",
        "docs/SECURITY.md",
        "docs/WRITING-RULES.md",
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

/// The names of the packages in the section `[dependencies]` of a manifest, without those of the workspace itself.
fn dependencies(manifest: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(manifest).expect("it can be read");
    let Some(section) = text.split("\n[dependencies]\n").nth(1) else {
        return BTreeSet::new();
    };
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    let names = lines.filter_map(|line| line.split(['.', ' ', '=']).next());
    let foreign = names.filter(|name| !name.is_empty() && !name.starts_with(['#']) && !name.starts_with("watchpost"));
    foreign.map(str::to_owned).collect()
}

#[test]
fn the_table_of_dependencies_is_complete() {
    let document = read("docs/ARCHITECTURE.md");
    let table = document
        .split("\n## Dependencies\n")
        .nth(1)
        .expect("it has the section");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.filter_map(|row| row.split(" | ").next());
    let listed: BTreeSet<String> = cells
        .flat_map(|cell| cell.split(['`', ',', ' ']))
        .filter(|name| name.starts_with(|letter: char| letter.is_ascii_lowercase()))
        .map(str::to_owned)
        .collect();
    let crates = std::fs::read_dir(root().join("server")).expect("it is there");
    let crates = crates.filter_map(|entry| Some(entry.ok()?.path().join("Cargo.toml")).filter(|path| path.is_file()));
    let manifests = ["server/Cargo.toml", "policies/Cargo.toml"].map(|path| root().join(path));
    let used: BTreeSet<String> = manifests
        .into_iter()
        .chain(crates)
        .flat_map(|manifest| dependencies(&manifest))
        .collect();
    assert!(used.contains("wasmtime") && used.contains("diesel"), "{used:?}");
    let missing: Vec<_> = used.difference(&listed).collect();
    assert!(
        missing.is_empty(),
        "docs/ARCHITECTURE.md lacks a reason for {missing:?}"
    );
    let manifest = read("Cargo.toml");
    let stale: Vec<_> = listed
        .iter()
        .filter(|name| !manifest.lines().any(|line| line.starts_with(&format!("{name} ="))))
        .collect();
    assert!(
        stale.is_empty(),
        "docs/ARCHITECTURE.md lists {stale:?}, which no crate uses"
    );
}
