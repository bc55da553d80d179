//! Generates the software bill of materials (SBOM) of Watchpost in the format CycloneDX 1.5.
//!
//! It lists what is inside the program: the crates that are linked into it and into the built-in rules, the C libraries
//! that these crates contain, the Rust standard library, and the vendored scripts. It does not list what only builds or
//! tests the program, nor shared libraries (OpenSSL, libpq, glibc): those are packages of the system, which update and
//! list them.
//!
//! The document has no time and no serial number, so the same sources give the same bytes.

mod cargo;
mod document;
mod vendored;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use crate::cargo::{Toolchain, Tree};

/// The rules that the build script of `watchpost` embeds, and their target.
const RULES: &[&str] = &["watchpost-role", "watchpost-threshold"];
const RULES_TARGET: &str = "wasm32-unknown-unknown";

const PROGRAM: &str = "watchpost";

/// Why no SBOM could be generated.
#[derive(Debug, thiserror::Error)]
pub enum SbomError {
    /// Cargo or rustc did not start, or failed.
    #[error("{command} failed: {reason}")]
    Command {
        /// The command line.
        command: String,
        /// The system's error, or the program's output.
        reason: String,
    },
    /// The output of cargo or rustc has an unexpected form.
    #[error("unexpected output of {program}: {line:?}")]
    Output {
        /// The name of the program.
        program: &'static str,
        /// The first line that was not understood.
        line: String,
    },
    /// A file could not be read.
    #[error("{} could not be read: {source}", path.display())]
    File {
        /// The path of the file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A file does not have the expected tables and keys.
    #[error("{} is not valid: {reason}", path.display())]
    Format {
        /// The path of the file.
        path: PathBuf,
        /// What is wrong, with its position.
        reason: String,
    },
    /// A crate of a registry that the lock file does not have.
    #[error("Cargo.lock has no checksum of {name} {version}")]
    NoChecksum {
        /// The name of the crate.
        name: String,
        /// The version of the crate.
        version: String,
    },
}

/// A part of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Component {
    name: String,
    version: String,
    /// An SPDX expression, or nothing where the crate declares none.
    license: Option<String>,
    /// The URL of the source repository.
    repository: Option<String>,
    /// A package URL; crates of this workspace are in no registry and have none.
    purl: Option<String>,
    /// A name in the National Vulnerability Database, for C libraries, which no registry knows.
    cpe: Option<String>,
    /// SHA-256 in hexadecimal of the archive in the registry.
    sha256: Option<String>,
    /// Files of a vendored package, each with its SHA-256.
    files: BTreeMap<String, String>,
}

impl Component {
    /// The identifier inside the document.
    fn reference(&self) -> String {
        let own = || format!("{}@{}", self.name, self.version);
        self.purl.clone().unwrap_or_else(own)
    }
}

/// All components by their reference, and which one contains which.
#[derive(Debug, Default)]
struct Inventory {
    components: BTreeMap<String, Component>,
    dependencies: BTreeMap<String, BTreeSet<String>>,
}

impl Inventory {
    /// Adds a component as a dependency of another one.
    fn add(&mut self, parent: &str, component: Component) {
        let reference = component.reference();
        self.depend(parent, &reference);
        self.components.insert(reference, component);
    }

    fn depend(&mut self, parent: &str, child: &str) {
        self.dependencies
            .entry(parent.to_owned())
            .or_default()
            .insert(child.to_owned());
    }
}

/// The SBOM of the workspace in this folder, for the target of the installed compiler.
pub fn generate(workspace: &Path) -> Result<String, SbomError> {
    let toolchain = Toolchain::of(workspace)?;
    let checksums = cargo::checksums(workspace)?;
    let mut inventory = Inventory::default();
    let program = Tree::of(workspace, &[PROGRAM], &toolchain.host)?;
    let root = program.add_to(&mut inventory, &checksums)?;
    let rules = Tree::of(workspace, RULES, RULES_TARGET)?;
    rules.add_to(&mut inventory, &checksums)?;
    for rule in rules.roots() {
        inventory.depend(&root, &rule);
    }
    for (parent, library) in bundled_libraries(&inventory) {
        inventory.add(&parent, library);
    }
    inventory.add(&root, toolchain.standard_library());
    for package in vendored::packages(workspace)? {
        inventory.add(&root, package);
    }
    Ok(document::render(&root, &inventory))
}

/// The C libraries in crates, with the reference of the crate. Other crates of this kind (`openssl-sys`, `pq-sys`) link
/// to the system's library.
fn bundled_libraries(inventory: &Inventory) -> Vec<(String, Component)> {
    let mut found = Vec::new();
    for (reference, component) in &inventory.components {
        let library = match component.name.as_str() {
            "libsqlite3-sys" => {
                let version = libsqlite3_sys::SQLITE_VERSION.to_string_lossy();
                Some(c_library("sqlite", &version, "blessing", "sqlite:sqlite"))
            }
            // The version of the library is the build metadata of the crate's version: `2.0.16+zstd.1.5.7`.
            "zstd-sys" => component
                .version
                .split_once("+zstd.")
                .map(|(_, version)| c_library("zstd", version, "BSD-3-Clause OR GPL-2.0-only", "facebook:zstandard")),
            _ => None,
        };
        found.extend(library.map(|library| (reference.clone(), library)));
    }
    found
}

fn c_library(name: &str, version: &str, license: &str, vendor_and_product: &str) -> Component {
    Component {
        name: name.to_owned(),
        version: version.to_owned(),
        license: Some(license.to_owned()),
        repository: None,
        purl: Some(format!("pkg:generic/{name}@{version}")),
        cpe: Some(format!("cpe:2.3:a:{vendor_and_product}:{version}:*:*:*:*:*:*:*")),
        sha256: None,
        files: BTreeMap::new(),
    }
}
