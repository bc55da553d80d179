//! What is inside the program is listed: the SBOM and the list of vendored scripts.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use watchpost_tests::server::program;

use crate::architecture::{read, root};

#[test]
fn vendored_scripts_have_the_listed_checksums() {
    let list: toml::Table = read("server/assets/vendored.toml").parse().expect("it is TOML");
    let packages = list["packages"].as_array().expect("a list");
    let mut listed = BTreeMap::new();
    for package in packages {
        for (name, sha256) in package["files"].as_table().expect("a table") {
            listed.insert(name.clone(), sha256.as_str().expect("a text").to_owned());
        }
        let (name, version) = (&package["name"], &package["version"]);
        let described = format!("{} by", version.as_str().expect("a text"));
        assert!(
            read("server/assets/NOTICE").contains(&described),
            "server/assets/NOTICE lacks version {version} of {name}"
        );
    }
    let assets = root().join("server/assets");
    let mut present = BTreeMap::new();
    for folder in assets.read_dir().expect("it can be read") {
        let folder = folder.expect("it can be read").path();
        // The files of Watchpost itself are not in subfolders.
        if !folder.is_dir() {
            continue;
        }
        for file in folder.read_dir().expect("it can be read") {
            let path = file.expect("it can be read").path();
            let name = path.strip_prefix(&assets).expect("it lies there").display().to_string();
            let digest = openssl::sha::sha256(&std::fs::read(&path).expect("it can be read"));
            present.insert(
                name,
                digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
            );
        }
    }
    assert_eq!(present, listed, "server/assets and server/assets/vendored.toml differ");
}

fn sbom() -> Value {
    let text = watchpost_sbom::generate(&root()).unwrap_or_else(|error| panic!("{error}"));
    serde_json::from_str(&text).expect("it is JSON")
}

/// The package URLs of the components.
fn purls(sbom: &Value) -> BTreeSet<&str> {
    let components = sbom["components"].as_array().expect("a list");
    components
        .iter()
        .filter_map(|component| component["purl"].as_str())
        .collect()
}

/// Crates that a feature adds which only the tests have: `dummy-module` of `wit-component`.
const ONLY_IN_TESTS: [&str; 3] = ["wasm-encoder", "wast", "wat"];

/// The compiler writes the path of each source that can panic into the program. It has the crate's name and version.
#[test]
fn the_sbom_lists_every_crate_whose_code_is_in_the_program() {
    let sbom = sbom();
    let listed = purls(&sbom);
    let bytes = std::fs::read(program()).expect("it can be read");
    let mut found = BTreeSet::new();
    let prefix = b"/registry/src/";
    for at in bytes
        .windows(prefix.len())
        .enumerate()
        .filter(|(_, window)| window == prefix)
    {
        let path = &bytes[at.0 + prefix.len()..];
        let end = path
            .iter()
            .position(|byte| !byte.is_ascii_graphic())
            .unwrap_or(path.len());
        let path = String::from_utf8_lossy(&path[..end.min(200)]);
        let mut parts = path.split('/');
        if let (Some(_registry), Some(package), Some("src")) = (parts.next(), parts.next(), parts.next()) {
            found.insert(package.to_owned());
        }
    }
    assert!(found.len() > 50, "{found:?}");
    let is_listed = |package: &str| {
        let dashes = package.match_indices('-').map(|(at, _)| package.split_at(at));
        let mut purls = dashes.map(|(name, version)| format!("pkg:cargo/{name}@{}", version[1..].replace('+', "%2B")));
        purls.any(|purl| listed.contains(purl.as_str()))
    };
    let is_of_tests = |package: &str| {
        let name = package.rsplit_once('-').map(|(name, _)| name);
        name.is_some_and(|name| ONLY_IN_TESTS.contains(&name))
    };
    let mut missing: Vec<_> = found.iter().filter(|package| !is_listed(package)).collect();
    missing.retain(|package| !is_of_tests(package));
    assert!(missing.is_empty(), "the SBOM lacks {missing:?}");
}

#[test]
fn the_sbom_lists_libraries_in_c_vendored_scripts_and_crates_of_the_rules() {
    let sbom = sbom();
    assert_eq!(sbom["metadata"]["component"]["name"], "watchpost");
    assert_eq!(sbom["metadata"]["component"]["version"], env!("CARGO_PKG_VERSION"));
    let listed = purls(&sbom);
    // `postcard` is only in the rules that the program embeds.
    for part in [
        "cargo/wasmtime",
        "cargo/postcard",
        "generic/sqlite",
        "generic/zstd",
        "generic/rust-std",
    ] {
        let prefix = format!("pkg:{part}@");
        assert!(
            listed.iter().any(|purl| purl.starts_with(&prefix)),
            "{prefix} is missing"
        );
    }
    let names = |kind: &str| -> BTreeSet<&str> {
        let of_kind = listed
            .iter()
            .filter_map(|purl| purl.strip_prefix(kind)?.split('@').next());
        of_kind.collect()
    };
    assert_eq!(names("pkg:npm/"), BTreeSet::from(["redoc", "swagger-ui-dist"]));
    // Neither what builds the program nor what tests it.
    for other in ["criterion", "serde_derive", "wit-bindgen-c", "tempfile"] {
        assert!(!names("pkg:cargo/").contains(other), "{other} is not in the program");
    }
}

#[test]
fn each_dependency_in_the_sbom_is_one_of_its_components() {
    let sbom = sbom();
    let components = sbom["components"].as_array().expect("a list");
    let root = &sbom["metadata"]["component"]["bom-ref"];
    let references: BTreeSet<_> = components
        .iter()
        .map(|component| &component["bom-ref"])
        .chain([root])
        .filter_map(Value::as_str)
        .collect();
    let mut reached = BTreeSet::from([root.as_str().expect("it has one")]);
    for entry in sbom["dependencies"].as_array().expect("a list") {
        assert!(references.contains(entry["ref"].as_str().expect("a text")), "{entry}");
        reached.extend(
            entry["dependsOn"]
                .as_array()
                .expect("a list")
                .iter()
                .filter_map(Value::as_str),
        );
    }
    assert_eq!(reached, references, "all components belong to the program");
    // A scanner needs the version, and a reader the licence and the archive's checksum.
    for component in components.iter().filter(|component| component["purl"].is_string()) {
        assert!(component["licenses"][0]["expression"].is_string(), "{component}");
        let purl = component["purl"].as_str().expect("a text");
        let from_registry = !purl.starts_with("pkg:generic/");
        let sha256 = component["hashes"][0]["content"].as_str().unwrap_or_default();
        assert_eq!(sha256.len() == 64, from_registry, "{component}");
    }
}
