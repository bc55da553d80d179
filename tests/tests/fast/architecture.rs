//! Tests of the architecture: dependencies between modules and crates.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use watchpost_policies::{Labels, MetricName, MetricPattern};
use watchpost_rule::names::{LABELS_BYTES, label_name_error, metric_name_error};
use watchpost_rule::pattern::plan_pattern;

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub(crate) fn read(path: &str) -> String {
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
    for (path, text) in sources("policies/src").into_iter().chain(sources("server")) {
        let allowed = path.components().any(|part| part.as_os_str() == "engine") || path.ends_with("bindings.rs");
        assert!(allowed || !text.contains("wasmtime::"), "{}", path.display());
    }
}

/// The lines of a source without comments and unit tests.
fn shipped_lines(text: &str) -> impl Iterator<Item = &str> {
    let shipped = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    shipped.lines().filter(|line| !line.trim_start().starts_with("//"))
}

/// Whether a line uses this crate, by a path that begins with its name.
fn uses_crate(line: &str, name: &str) -> bool {
    let path = format!("{name}::");
    line.match_indices(&path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|letter| !letter.is_alphanumeric() && letter != '_' && letter != ':')
    })
}

/// The files of the server and its crates, but for unit tests, in which a line is not allowed: each with the line. Paths
/// have no `src`: `tls/mod.rs` is of the server, `azure/lib.rs` of the crate.
fn server_lines_where(is_wrong: impl Fn(&Path, &str) -> bool) -> Vec<String> {
    let top = root().join("server");
    let mut found = Vec::new();
    for (path, text) in sources("server") {
        let below = path.strip_prefix(&top).expect("it is below");
        let file: PathBuf = below.components().filter(|part| part.as_os_str() != "src").collect();
        let file = file.as_path();
        let is_test = file.ends_with("tests.rs") || file.components().any(|part| part.as_os_str() == "tests");
        if is_test {
            continue;
        }
        let lines = shipped_lines(&text).filter(|line| is_wrong(file, line));
        found.extend(lines.map(|line| format!("server/{}: {}", below.display(), line.trim())));
    }
    found
}

#[test]
fn only_the_store_knows_diesel() {
    let outside = server_lines_where(|file, line| {
        let uses = uses_crate(line, "diesel") || uses_crate(line, "diesel_migrations");
        uses && !file.starts_with("store")
    });
    assert_eq!(outside, Vec::<String>::new());
}

#[test]
fn openssl_is_used_only_where_the_architecture_says() {
    let owners = ["tls", "pki", "azure/assertion.rs", "rules/signing.rs"];
    // Hashes, random bytes and constant-time comparisons handle no keys, so every module may use them.
    let harmless = ["openssl::sha::", "openssl::rand::", "openssl::memcmp::"];
    let outside = server_lines_where(|file, line| {
        let is_harmless = harmless.iter().any(|harmless| line.contains(harmless));
        uses_crate(line, "openssl") && !is_harmless && !owners.iter().any(|owner| file.starts_with(owner))
    });
    assert_eq!(outside, Vec::<String>::new());
    for owner in owners {
        let used = server_lines_where(|file, line| uses_crate(line, "openssl") && file.starts_with(owner));
        assert!(
            !used.is_empty(),
            "{owner} needs no OpenSSL any more: ARCHITECTURE.md and this test can do without it"
        );
    }
}

#[test]
fn a_crate_is_found_by_the_beginning_of_a_path() {
    for line in [
        "use diesel::prelude::*;",
        "    diesel::sql_query(text)",
        "fn f(of: &diesel::Row)",
    ] {
        assert!(uses_crate(line, "diesel"), "{line}");
    }
    for line in ["use crate::diesel::X;", "use not_diesel::X;", "let diesel = 1;"] {
        assert!(!uses_crate(line, "diesel"), "{line}");
    }
}

#[test]
fn policies_open_no_files_and_read_no_clock() {
    for (path, text) in sources("policies/src") {
        for word in ["std::fs", "std::net", "SystemTime", "std::env", "std::process"] {
            assert!(!text.contains(word), "{} says {word}", path.display());
        }
    }
}

#[test]
fn unsafe_code_is_only_where_the_architecture_says() {
    let known = [
        "engine/artefact.rs",
        "collect/host/timex.rs",
        "sdk/src/arena.rs",
        "sdk/src/panic_message.rs",
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
fn every_file_starts_with_a_module_comment() {
    for (path, text) in ["policies", "server", "wasm-rules", "tests"]
        .map(sources)
        .into_iter()
        .flatten()
    {
        let generated = path.components().any(|part| part.as_os_str() == "target");
        assert!(generated || text.starts_with("//! "), "{}", path.display());
    }
}

/// A name that only the host refuses would be a fault of the rule later, and a name that only the SDK refuses could not
/// be used at all.
#[test]
fn the_sdk_and_the_host_accept_the_same_names() {
    let names = [
        "",
        "disk",
        "1disk",
        "disk1",
        "disk-free",
        "job:rate5m",
        ":x",
        "_",
        "9",
        "größe",
        "a b",
        "a\n",
    ];
    let names = names.map(str::to_owned).into_iter();
    for name in names.chain(["x".repeat(200), "x".repeat(201)]) {
        let metric = MetricName::new(&name);
        assert_eq!(metric_name_error(&name).is_none(), metric.is_ok(), "{name:?}");
        assert_eq!(
            label_name_error(&name).is_none(),
            Labels::new([(&*name, "")]).is_ok(),
            "{name:?}"
        );
        let pattern = format!("{name}*");
        if metric_name_error(&pattern).is_none() {
            assert!(MetricPattern::new(&plan_pattern(&pattern)).is_ok(), "{pattern:?}");
        }
    }
    let labels = |bytes: usize| Labels::new([("a", "x".repeat(bytes - 1))]);
    assert!(labels(LABELS_BYTES).is_ok() && labels(LABELS_BYTES + 1).is_err());
}

/// The lines of the list of layers in ARCHITECTURE.md, from the top to the bottom: each module with its line.
fn layers() -> BTreeMap<String, usize> {
    let document = read("docs/ARCHITECTURE.md");
    let (_, list) = document
        .split_once("```layers\n")
        .expect("ARCHITECTURE.md lists the layers");
    let (list, _) = list.split_once("```").expect("the list ends");
    let mut layers = BTreeMap::new();
    for (line, modules) in list.lines().enumerate() {
        for module in modules.split(", ") {
            let twice = layers.insert(module.to_owned(), line);
            assert!(twice.is_none(), "ARCHITECTURE.md lists {module} twice");
        }
    }
    layers
}

/// The top-level modules that a text imports by `crate::`, with comments and unit tests left out.
fn imported_modules(text: &str) -> BTreeSet<String> {
    let shipped = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code: Vec<&str> = shipped
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let mut modules = BTreeSet::new();
    for import in code.join("\n").split("crate::").skip(1) {
        // Either one path, or a group of them in braces.
        let paths = match import.strip_prefix('{') {
            Some(group) => group.split(';').next().unwrap_or_default(),
            None => import
                .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
                .next()
                .unwrap_or_default(),
        };
        let mut depth = 0;
        let mut name = String::new();
        for letter in paths.chars().chain([',']) {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth <= 0 => {
                    let path = std::mem::take(&mut name);
                    let module = path.split("::").next().unwrap_or_default().trim();
                    modules.insert(module.trim_end_matches(" as").to_owned());
                }
                letter if depth == 0 => name.push(letter),
                _ => {}
            }
            if depth < 0 {
                let module = name.split("::").next().unwrap_or_default().trim();
                modules.insert(module.to_owned());
                break;
            }
        }
    }
    modules
}

/// The violations of the layers: each a sentence with both files.
fn upward_imports(files: &[(String, String)], layers: &BTreeMap<String, usize>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (path, text) in files {
        let is_test = path.ends_with("/tests.rs") || path.contains("/tests/");
        let is_root = ["lib.rs", "main.rs"].contains(&path.as_str());
        if is_test || is_root {
            continue;
        }
        let module = path.split('/').next().unwrap_or_default().trim_end_matches(".rs");
        let Some(own) = layers.get(module) else {
            wrong.push(format!(
                "server/src/{path}: the layers in ARCHITECTURE.md lack {module}"
            ));
            continue;
        };
        for imported in imported_modules(text).iter().filter(|imported| *imported != module) {
            // Items of the crate's root, such as macros, belong to no module.
            let Some(layer) = layers.get(imported) else { continue };
            if layer <= own {
                wrong.push(format!(
                    "server/src/{path} imports from server/src/{imported}, which is not on a lower layer"
                ));
            }
        }
    }
    wrong
}

#[test]
fn imports_point_downward() {
    let layers = layers();
    let top = root().join("server/src");
    let files: Vec<_> = sources("server/src")
        .into_iter()
        .map(|(path, text)| {
            let relative = path
                .strip_prefix(&top)
                .expect("it is below")
                .to_string_lossy()
                .into_owned();
            (relative, text)
        })
        .collect();
    let declared: BTreeSet<String> = read("server/src/lib.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ").or_else(|| line.strip_prefix("mod ")))
        .map(|module| module.trim_end_matches(';').to_owned())
        .collect();
    let listed: BTreeSet<String> = layers.keys().cloned().collect();
    assert_eq!(listed, declared, "ARCHITECTURE.md lists the modules of lib.rs");
    let wrong = upward_imports(&files, &layers);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_import_that_points_upward_is_found_in_every_form() {
    let layers: BTreeMap<String, usize> = [("app", 0), ("rules", 1), ("store", 2), ("clock", 3), ("tls", 3)]
        .map(|(module, layer)| (module.to_owned(), layer))
        .into();
    let check = |path: &str, text: &str| upward_imports(&[(path.to_owned(), text.to_owned())], &layers).len();
    for upward in [
        "use crate::app::Parts;",
        "use crate::rules;",
        "use crate::{clock, rules};",
        "use crate::{clock, rules::registry::{A, B}};",
        "fn f() { crate::app::run() }",
        "pub(crate) use crate::{\n    app,\n    clock,\n};",
    ] {
        assert_eq!(check("store/mod.rs", upward), 1, "{upward}");
    }
    for downward in [
        "use crate::clock;",
        "use crate::{clock, tls};",
        "use crate::store::pool;",
        "// use crate::app;",
        "use crate::clock;\n#[cfg(test)]\nmod tests {\n    use crate::app;\n}",
    ] {
        assert_eq!(check("store/pool.rs", downward), 0, "{downward}");
    }
    assert_eq!(
        check("clock.rs", "use crate::tls;"),
        1,
        "neighbours do not import each other"
    );
    assert_eq!(check("store/tests.rs", "use crate::app;"), 0, "unit tests may");
    assert_eq!(check("web/mod.rs", ""), 1, "a module without a layer");
}
