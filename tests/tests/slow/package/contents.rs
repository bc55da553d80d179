//! The manual pages and documents of the package, and the links between them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use watchpost_tests::machine::Machine;
use watchpost_tests::programs::output_of;
use watchpost_tests::server::tools;

/// `watchpost(1)` refers to a page for each command, and those with subcommands to further pages.
pub(crate) fn every_page_that_a_page_names_is_there(machine: &Machine) {
    let folder = machine.path("/usr/share/man/man1");
    let (mut there, mut named) = (BTreeSet::new(), BTreeSet::new());
    for entry in fs::read_dir(&folder).expect("the package has pages") {
        let name = entry
            .expect("it can be read")
            .file_name()
            .to_string_lossy()
            .into_owned();
        let Some(page) = name.strip_suffix(".1.gz").filter(|page| page.starts_with("watchpost")) else {
            continue;
        };
        let text = machine.says(&["zcat", &format!("/usr/share/man/man1/{name}")]);
        // Names are bold, and hyphens are escaped.
        let text = text.replace("\\fB", "").replace("\\fR", "").replace('\\', "");
        let words = text.split(|letter: char| letter.is_whitespace() || letter == ',');
        named.extend(words.filter_map(|word| word.strip_suffix("(1)")).map(str::to_owned));
        there.insert(page.to_owned());
    }
    assert!(
        named.contains("watchpost-serve") && named.contains("watchpost-rules-push"),
        "{named:?}"
    );
    assert!(named.is_subset(&there), "{:?}", named.difference(&there));
    let push = machine.says(&["zcat", "/usr/share/man/man1/watchpost-rules-push.1.gz"]);
    assert!(
        push.replace('\\', "").contains("--activate"),
        "a page lists its command's options"
    );
}

/// The links of the installed documents lead to installed files.
pub(crate) fn documents_lead_somewhere(machine: &Machine) {
    let place = machine.path("/usr/share/doc/watchpost");
    let mut documents = vec![place.join("README.md")];
    let docs = fs::read_dir(place.join("docs")).expect("the package has documents");
    documents.extend(docs.map(|entry| entry.expect("it can be read").path()));
    documents.retain(|path| path.extension().is_some_and(|kind| kind == "md"));
    assert!(documents.len() > 5, "{documents:?}");
    for document in documents {
        let text = fs::read_to_string(&document).expect("it is text");
        let folder = document.parent().expect("it lies somewhere");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or_default();
            let elsewhere = path.is_empty() || path.contains("://");
            assert!(
                elsewhere || folder.join(path).exists(),
                "{} links to {link}",
                document.display()
            );
        }
    }
    // As `docs/DEPLOYMENT.md` copies them from there.
    for file in ["deploy/prometheus/rules/alerts.yml", "deploy/grafana/watchpost.json"] {
        assert!(place.join(file).exists(), "{file}");
    }
}

/// The SBOM is valid by the strict schema of CycloneDX, and is about this program.
pub(crate) fn the_sbom_is_valid_and_names_the_version(machine: &Machine) {
    let file = machine.path("/usr/share/doc/watchpost/watchpost.cdx.json");
    let validate = "import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read())
sys.exit(str(error) if error else 0)";
    let validated = |file: &Path| {
        let mut python = Command::new(tools().join("sbom/bin/python3"));
        output_of(python.args(["-c", validate]).arg(file))
    };
    validated(&file).unwrap_or_else(|wrong| panic!("{wrong}"));
    let text = fs::read_to_string(&file).expect("it is text");
    let folder = tempfile::tempdir().expect("a folder");
    let damaged = folder.path().join("damaged.cdx.json");
    fs::write(&damaged, text.replace("\"SHA-256\"", "\"SHA-257\"")).expect("written");
    validated(&damaged).expect_err("the validator finds a mistake");

    let sbom: Value = serde_json::from_str(&text).expect("it is JSON");
    let program = &sbom["metadata"]["component"];
    let version = machine.says(&["watchpost", "--version"]);
    assert!(
        version.contains(program["version"].as_str().expect("it has a version")),
        "{version}: {program}"
    );
    let components = sbom["components"].as_array().expect("a list");
    let wasmtime = components.iter().find(|component| component["name"] == "wasmtime");
    let wasmtime = wasmtime.expect("it is listed");
    assert!(
        wasmtime["purl"]
            .as_str()
            .expect("a text")
            .starts_with("pkg:cargo/wasmtime@"),
        "{wasmtime}"
    );
}
