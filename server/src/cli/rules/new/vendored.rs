//! The files that a Rust project needs besides its rule: the SDK as a standalone crate, and a manifest and a lock file
//! with the project's name. Nothing is downloaded.

use toml::{Table, Value};

use super::ProjectFile;
use super::languages::{embedded, text};

/// The folder of the SDK in a project.
const FOLDER: &str = "watchpost-rule";

/// The SDK with the contract next to it.
pub(super) fn sdk() -> Vec<ProjectFile> {
    let source = |name: &str, source: &str| {
        // In the repository, the contract has another path.
        text(
            &format!("{FOLDER}/src/{name}"),
            source.replace("../../policies/wit", "wit"),
        )
    };
    let manifest = standing_alone(embedded!("wasm-rules/sdk/Cargo.toml"), embedded!("Cargo.toml"));
    vec![
        text(&format!("{FOLDER}/Cargo.toml"), manifest),
        text(&format!("{FOLDER}/wit/rules.wit"), embedded!("policies/wit/rules.wit")),
        source("arena.rs", embedded!("wasm-rules/sdk/src/arena.rs")),
        source("common.rs", embedded!("wasm-rules/sdk/src/common.rs")),
        source("panic_message.rs", embedded!("wasm-rules/sdk/src/panic_message.rs")),
        source("json.rs", embedded!("wasm-rules/sdk/src/json.rs")),
        source("lib.rs", embedded!("wasm-rules/sdk/src/lib.rs")),
        source("names.rs", embedded!("wasm-rules/sdk/src/names.rs")),
        source("pattern.rs", embedded!("wasm-rules/sdk/src/pattern.rs")),
        source("role.rs", embedded!("wasm-rules/sdk/src/role.rs")),
        source("settings.rs", embedded!("wasm-rules/sdk/src/settings.rs")),
        source("text.rs", embedded!("wasm-rules/sdk/src/text.rs")),
        source("threshold.rs", embedded!("wasm-rules/sdk/src/threshold.rs")),
    ]
}

/// The example's manifest with the project's name and the path of the SDK.
pub(super) fn manifest_of(manifest: &str, example: &str, name: &str) -> String {
    manifest
        .replacen(&quoted(example), &quoted(&package(name)), 1)
        .replacen("../../../sdk", FOLDER, 1)
}

/// The example's lock file with the project's name. Packages are sorted by name; otherwise cargo would rewrite the
/// file.
pub(super) fn lock_of(lock: &str, example: &str, name: &str) -> String {
    const MARK: &str = "[[package]]";
    let (head, rest) = lock.split_once(MARK).unwrap_or((lock, ""));
    let renamed = rest.replacen(
        &format!("name = {}", quoted(example)),
        &format!("name = {}", quoted(&package(name))),
        1,
    );
    let mut packages: Vec<&str> = renamed.split(MARK).map(str::trim).collect();
    packages.sort_by_key(|package| package.lines().next().unwrap_or_default().to_owned());
    let packages: Vec<_> = packages.iter().map(|package| format!("{MARK}\n{package}\n")).collect();
    head.to_owned() + &packages.join("\n")
}

/// Package names must not begin with a digit, and no dependency has this prefix.
fn package(name: &str) -> String {
    format!("rule-{name}")
}

fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

/// A manifest that inherits nothing from the workspace.
fn standing_alone(manifest: &str, workspace: &str) -> String {
    let mut manifest: Table = manifest.parse().expect("manifests of this repository are TOML");
    let workspace: Table = workspace.parse().expect("manifests of this repository are TOML");
    let workspace = &workspace["workspace"];
    // The lints of this repository do not apply to the project.
    manifest.remove("lints");
    for (section, common) in [("package", "package"), ("dependencies", "dependencies")] {
        let Some(Value::Table(entries)) = manifest.get_mut(section) else {
            continue;
        };
        for (name, entry) in entries {
            if entry.get("workspace").is_some() {
                *entry = workspace[common][name.as_str()].clone();
            }
        }
    }
    manifest.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sdk_is_standalone_and_complete() {
        let files = sdk();
        let manifest = &files[0];
        let manifest: Table = String::from_utf8(manifest.bytes.clone())
            .expect("text")
            .parse()
            .expect("TOML");
        let workspace: Table = embedded!("Cargo.toml").parse().expect("TOML");
        let common = &workspace["workspace"];
        assert_eq!(manifest["package"]["version"], common["package"]["version"]);
        assert_eq!(manifest["dependencies"]["serde"], common["dependencies"]["serde"]);
        assert!(!manifest.to_string().contains("workspace"), "{manifest}");

        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../wasm-rules/sdk/src");
        for entry in std::fs::read_dir(folder).expect("a folder").filter_map(Result::ok) {
            let path = format!("{FOLDER}/src/{}", entry.file_name().to_string_lossy());
            assert!(files.iter().any(|file| file.path == path), "{path} is missing");
        }
        for file in &files {
            let text = String::from_utf8_lossy(&file.bytes);
            assert!(!text.contains("../.."), "{} reaches out of the project", file.path);
        }
    }

    #[test]
    fn a_lock_file_stays_sorted_under_any_name() {
        let lock = "version = 4\n\n[[package]]\nname = \"anyhow\"\nversion = \"1\"\n\n[[package]]\nname = \"weekend\"\n\
                    version = \"1.0.0\"\ndependencies = [\n \"anyhow\",\n \"weekend-like\",\n]\n\n[[package]]\n\
                    name = \"weekend-like\"\nversion = \"1\"\n";
        let expected = "version = 4\n\n[[package]]\nname = \"anyhow\"\nversion = \"1\"\n\n[[package]]\n\
                        name = \"rule-7\"\nversion = \"1.0.0\"\ndependencies = [\n \"anyhow\",\n \"weekend-like\",\n]\n\n\
                        [[package]]\nname = \"weekend-like\"\nversion = \"1\"\n";
        assert_eq!(lock_of(lock, "weekend", "7"), expected);
    }
}
