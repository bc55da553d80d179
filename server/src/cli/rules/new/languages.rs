//! The project templates of each language: the files from the examples, and the texts of the README.

use super::vendored::{lock_of, manifest_of, sdk};
use super::{Kind, Language, Project, ProjectFile};

/// Includes a file of the repository.
macro_rules! embedded {
    ($path:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../", $path))
    };
}
pub(super) use embedded;

/// The texts of a language's template.
struct LanguageTexts {
    language: &'static str,
    rule: &'static str,
    /// Completes "It takes …".
    needs: &'static str,
    /// Completes "Begin with …".
    begin: &'static str,
    /// Completes "… is how it is built; …".
    rest: &'static str,
    /// Settings of the Makefile.
    settings: String,
}

/// A project with this name, or why there is no such template.
pub(super) fn project(name: &str, language: Language, kind: Kind) -> Result<Project, String> {
    let (texts, mut files) = match language {
        Language::Rust => rust(name, kind),
        Language::Python => python(name, kind),
        Language::Javascript => javascript(name, kind),
        Language::C => c(name, kind)?,
    };
    let readme = embedded!("wasm-rules/examples/project/README.md")
        .replace("{name}", name)
        .replace("{kind}", kind.word())
        .replace("{language}", texts.language)
        .replace("{needs}", texts.needs)
        .replace("{rule}", texts.rule)
        .replace("{begin}", texts.begin)
        .replace("{rest}", texts.rest);
    let makefile = embedded!("wasm-rules/examples/project/Makefile").replace("{settings}", &texts.settings);
    files.extend([
        text("README.md", readme),
        text("Makefile", makefile),
        text(".gitignore", embedded!("wasm-rules/examples/project/gitignore")),
    ]);
    Ok(Project {
        language: texts.language,
        rule: texts.rule,
        files,
    })
}

fn rust(name: &str, kind: Kind) -> (LanguageTexts, Vec<ProjectFile>) {
    let texts = LanguageTexts {
        language: "Rust",
        rule: "src/lib.rs",
        needs: "`cargo` with the target wasm32-unknown-unknown (`rustup target add wasm32-unknown-unknown`), `make`",
        begin: "`describe`, then change the settings and the evaluation",
        rest: "`watchpost-rule/` is the SDK, which is not published in a registry.",
        settings: "SDK := watchpost-rule".to_owned(),
    };
    let (example, source, manifest, lock, cases) = match kind {
        Kind::Threshold => (
            "weekend",
            embedded!("wasm-rules/examples/rust/threshold/src/lib.rs"),
            embedded!("wasm-rules/examples/rust/threshold/Cargo.toml"),
            embedded!("wasm-rules/examples/rust/threshold/Cargo.lock"),
            embedded!("wasm-rules/examples/rust/threshold/cases.toml"),
        ),
        Kind::Role => (
            "staff",
            embedded!("wasm-rules/examples/rust/role/src/lib.rs"),
            embedded!("wasm-rules/examples/rust/role/Cargo.toml"),
            embedded!("wasm-rules/examples/rust/role/Cargo.lock"),
            embedded!("wasm-rules/examples/rust/role/cases.toml"),
        ),
    };
    let mut files = vec![
        text(texts.rule, named(source, example, name)),
        text("Cargo.toml", manifest_of(manifest, example, name)),
        text("Cargo.lock", lock_of(lock, example, name)),
        text("cases.toml", cases),
        text("rule.mk", embedded!("wasm-rules/examples/rust/rule.mk")),
    ];
    files.extend(sdk());
    (texts, files)
}

fn python(name: &str, kind: Kind) -> (LanguageTexts, Vec<ProjectFile>) {
    let texts = LanguageTexts {
        language: "Python",
        rule: "rule.py",
        needs: "Python 3.11 or newer with `venv`, `make`",
        begin: "`describe`, then change the findings, and then the settings",
        rest: "the first build downloads the tools of requirements.txt to `.tools`, 72 MB. Rules can share them: \
               `make TOOLS=DIR`. `wit/` is the contract.",
        settings: with_tools(kind),
    };
    let (example, source) = match kind {
        Kind::Threshold => (
            "threshold-python",
            embedded!("wasm-rules/examples/python/threshold/rule.py"),
        ),
        Kind::Role => ("role-python", embedded!("wasm-rules/examples/python/role/rule.py")),
    };
    let files = vec![
        text(texts.rule, named(source, example, name)),
        text(
            "requirements.txt",
            embedded!("wasm-rules/examples/python/requirements.txt"),
        ),
        text("rule.mk", embedded!("wasm-rules/examples/python/rule.mk")),
        contract(),
        cases(kind),
    ];
    (texts, files)
}

fn javascript(name: &str, kind: Kind) -> (LanguageTexts, Vec<ProjectFile>) {
    let texts = LanguageTexts {
        language: "JavaScript",
        rule: "rule.js",
        needs: "Node 20 or newer with `npm`, `make`",
        begin: "`describe`, then change the findings, and then the settings",
        rest: "the first build downloads the tools of package.json to `.tools`, 385 MB. Rules can share them: \
               `make TOOLS=DIR`. `wit/` is the contract.",
        settings: with_tools(kind),
    };
    let (example, source) = match kind {
        Kind::Threshold => (
            "threshold-javascript",
            embedded!("wasm-rules/examples/javascript/threshold/rule.js"),
        ),
        Kind::Role => (
            "role-javascript",
            embedded!("wasm-rules/examples/javascript/role/rule.js"),
        ),
    };
    let files = vec![
        text(texts.rule, named(source, example, name)),
        text("package.json", embedded!("wasm-rules/examples/javascript/package.json")),
        text("build.mjs", embedded!("wasm-rules/examples/javascript/build.mjs")),
        text("rule.mk", embedded!("wasm-rules/examples/javascript/rule.mk")),
        contract(),
        cases(kind),
    ];
    (texts, files)
}

fn c(name: &str, kind: Kind) -> Result<(LanguageTexts, Vec<ProjectFile>), String> {
    if kind == Kind::Role {
        return Err("there is no template of a role rule in C; use rust, python or javascript".to_owned());
    }
    let texts = LanguageTexts {
        language: "C",
        rule: "rule.c",
        needs: "clang and lld (14 or newer), wasi-libc, `make`",
        begin: "`exports_rule_describe` and `found`; the settings are in `settings.c`",
        rest: "`bindings/` has the C bindings of the contract.",
        settings: "BINDINGS := bindings".to_owned(),
    };
    let source = embedded!("wasm-rules/examples/c/threshold/rule.c");
    let mut files = vec![text(texts.rule, named(source, "threshold-c", name)), cases(kind)];
    files.extend([
        text("settings.c", embedded!("wasm-rules/examples/c/threshold/settings.c")),
        text("settings.h", embedded!("wasm-rules/examples/c/threshold/settings.h")),
        text("json.c", embedded!("wasm-rules/examples/c/threshold/json.c")),
        text("json.h", embedded!("wasm-rules/examples/c/threshold/json.h")),
        text("text.c", embedded!("wasm-rules/examples/c/threshold/text.c")),
        text("text.h", embedded!("wasm-rules/examples/c/threshold/text.h")),
        text("arena.c", embedded!("wasm-rules/examples/c/threshold/arena.c")),
        text("rule.mk", embedded!("wasm-rules/examples/c/rule.mk")),
        text(
            "bindings/watchpost.h",
            include_str!(concat!(env!("OUT_DIR"), "/c/watchpost.h")),
        ),
        text(
            "bindings/watchpost.c",
            include_str!(concat!(env!("OUT_DIR"), "/c/watchpost.c")),
        ),
        ProjectFile {
            path: "bindings/watchpost_component_type.o".to_owned(),
            bytes: include_bytes!(concat!(env!("OUT_DIR"), "/c/watchpost_component_type.o")).to_vec(),
        },
    ]);
    Ok((texts, files))
}

/// Replaces the example's name, in quotes, by the project's name.
fn named(source: &str, example: &str, name: &str) -> String {
    source.replacen(&format!("\"{example}\""), &format!("\"{name}\""), 1)
}

fn with_tools(kind: Kind) -> String {
    format!(
        "WORLD  := {}\nWIT    := wit\nSHARED := .\nTOOLS  ?= .tools",
        kind.word()
    )
}

fn contract() -> ProjectFile {
    text("wit/rules.wit", embedded!("policies/wit/rules.wit"))
}

/// The example rules in Python, JavaScript and C have the same settings.
fn cases(kind: Kind) -> ProjectFile {
    let cases = match kind {
        Kind::Threshold => embedded!("wasm-rules/examples/cases/threshold.toml"),
        Kind::Role => embedded!("wasm-rules/examples/cases/role.toml"),
    };
    text("cases.toml", cases)
}

pub(super) fn text(path: &str, text: impl Into<String>) -> ProjectFile {
    ProjectFile {
        path: path.to_owned(),
        bytes: text.into().into_bytes(),
    }
}
