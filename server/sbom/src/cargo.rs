//! What cargo and rustc report: the dependency trees, the checksums of the lock file, and the toolchain.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use crate::{Component, Inventory, SbomError};

/// SHA-256 of the archives of crates, by name and version.
pub(crate) type Checksums = BTreeMap<(String, String), String>;

/// The installed compiler.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Toolchain {
    /// The target that it compiles for.
    pub(crate) host: String,
    version: String,
}

impl Toolchain {
    pub(crate) fn of(workspace: &Path) -> Result<Self, SbomError> {
        let output = output_of(
            Command::new("rustc")
                .arg("--version")
                .arg("--verbose")
                .current_dir(workspace),
        )?;
        let value = |key: &str| {
            let line = output.lines().find_map(|line| line.strip_prefix(key));
            line.map(|value| value.trim().to_owned()).ok_or(SbomError::Output {
                program: "rustc",
                line: output.lines().next().unwrap_or_default().to_owned(),
            })
        };
        Ok(Self {
            host: value("host:")?,
            version: value("release:")?,
        })
    }

    pub(crate) fn standard_library(&self) -> Component {
        Component {
            name: "rust-std".to_owned(),
            version: self.version.clone(),
            license: Some("MIT OR Apache-2.0".to_owned()),
            repository: Some("https://github.com/rust-lang/rust".to_owned()),
            purl: Some(format!("pkg:generic/rust-std@{}", self.version)),
            cpe: Some(format!("cpe:2.3:a:rust-lang:rust:{}:*:*:*:*:*:*:*", self.version)),
            sha256: None,
            files: BTreeMap::new(),
        }
    }
}

/// The linked dependencies of packages: the output of `cargo tree`, which resolves features as a build does.
#[derive(Debug)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    depth: usize,
    component: Component,
    /// Whether it comes from this workspace and not from a registry.
    is_local: bool,
}

impl Tree {
    pub(crate) fn of(workspace: &Path, packages: &[&str], target: &str) -> Result<Self, SbomError> {
        let mut cargo = Command::new("cargo");
        cargo.args([
            "tree",
            "--quiet",
            "--locked",
            "--edges",
            "normal,no-proc-macro",
            "--prefix",
            "depth",
        ]);
        cargo.args(["--charset", "ascii", "--format", "|{p}|{l}|{r}", "--target", target]);
        for package in packages {
            cargo.args(["--package", package]);
        }
        Self::parse(&output_of(cargo.current_dir(workspace))?)
    }

    fn parse(output: &str) -> Result<Self, SbomError> {
        let lines = output.lines().filter(|line| !line.is_empty());
        let nodes = lines.map(|line| {
            Node::parse(line).ok_or_else(|| SbomError::Output {
                program: "cargo tree",
                line: line.to_owned(),
            })
        });
        Ok(Self {
            nodes: nodes.collect::<Result<_, _>>()?,
        })
    }

    /// The references of the packages that were asked for.
    pub(crate) fn roots(&self) -> impl Iterator<Item = String> {
        let roots = self.nodes.iter().filter(|node| node.depth == 0);
        roots.map(|node| node.component.reference())
    }

    /// Adds all components and edges, and returns the reference of the first package.
    pub(crate) fn add_to(&self, inventory: &mut Inventory, checksums: &Checksums) -> Result<String, SbomError> {
        let mut parents: Vec<String> = Vec::new();
        for node in &self.nodes {
            let mut component = node.component.clone();
            if !node.is_local {
                let key = (component.name.clone(), component.version.clone());
                let checksum = checksums.get(&key).ok_or(SbomError::NoChecksum {
                    name: key.0,
                    version: key.1,
                })?;
                component.sha256 = Some(checksum.clone());
            }
            let reference = component.reference();
            parents.truncate(node.depth);
            if let Some(parent) = parents.last() {
                inventory.depend(parent, &reference);
            }
            inventory.components.insert(reference.clone(), component);
            parents.push(reference);
        }
        self.roots().next().ok_or_else(|| SbomError::Output {
            program: "cargo tree",
            line: String::new(),
        })
    }
}

impl Node {
    /// A line such as `2|serde v1.0.229|MIT OR Apache-2.0|https://github.com/serde-rs/serde (*)`; a local package has
    /// its folder after the version.
    fn parse(line: &str) -> Option<Self> {
        // The subtree of a repeated package was printed before.
        let line = line.strip_suffix(" (*)").unwrap_or(line);
        let mut parts = line.split('|');
        let depth = parts.next()?.parse().ok()?;
        let mut package = parts.next()?.split(' ');
        let (name, version) = (package.next()?, package.next()?.strip_prefix('v')?);
        let is_local = package.next().is_some_and(|folder| folder.starts_with("(/"));
        let present = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        // Older crates separate alternatives by a slash, which SPDX does not have.
        let license = present(parts.next()?).map(|license| license.replace(" / ", " OR ").replace('/', " OR "));
        let repository = present(parts.next()?);
        let component = Component {
            name: name.to_owned(),
            version: version.to_owned(),
            license,
            repository,
            purl: (!is_local).then(|| format!("pkg:cargo/{name}@{}", version.replace('+', "%2B"))),
            cpe: None,
            sha256: None,
            files: BTreeMap::new(),
        };
        Some(Self {
            depth,
            component,
            is_local,
        })
    }
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<LockedPackage>,
}

#[derive(Deserialize)]
struct LockedPackage {
    name: String,
    version: String,
    checksum: Option<String>,
}

/// The checksums of `Cargo.lock`.
pub(crate) fn checksums(workspace: &Path) -> Result<Checksums, SbomError> {
    let lock: Lock = read_toml(&workspace.join("Cargo.lock"))?;
    let with_checksum = |package: LockedPackage| Some(((package.name, package.version), package.checksum?));
    Ok(lock.package.into_iter().filter_map(with_checksum).collect())
}

pub(crate) fn read_toml<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, SbomError> {
    let text = std::fs::read_to_string(path).map_err(|source| SbomError::File {
        path: path.to_owned(),
        source,
    })?;
    toml::from_str(&text).map_err(|error| SbomError::Format {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

fn output_of(command: &mut Command) -> Result<String, SbomError> {
    let output = command.output();
    let failed = |reason: String| SbomError::Command {
        command: format!("{command:?}"),
        reason,
    };
    let output = output.map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checksums_of(crates: &[(&str, &str)]) -> Checksums {
        let with_checksum = |(name, version): &(&str, &str)| {
            let key = ((*name).to_owned(), (*version).to_owned());
            (key, "0".repeat(64))
        };
        crates.iter().map(with_checksum).collect()
    }

    const TREE: &str = "\
0|watchpost v0.1.0 (/src/server)|Apache-2.0|
1|serde v1.0.229|MIT OR Apache-2.0|https://github.com/serde-rs/serde
2|serde_core v1.0.229|MIT/Apache-2.0|
1|watchpost-pki v0.1.0 (/src/server/pki)|Apache-2.0|
2|zstd-sys v2.0.16+zstd.1.5.7|MIT / Apache-2.0|
2|serde v1.0.229|MIT OR Apache-2.0|https://github.com/serde-rs/serde (*)
";

    #[test]
    fn a_tree_gives_components_and_edges() {
        let checksums = checksums_of(&[
            ("serde", "1.0.229"),
            ("serde_core", "1.0.229"),
            ("zstd-sys", "2.0.16+zstd.1.5.7"),
        ]);
        let mut inventory = Inventory::default();
        let tree = Tree::parse(TREE).unwrap();
        let root = tree.add_to(&mut inventory, &checksums).unwrap();
        assert_eq!(root, "watchpost@0.1.0");
        let references: Vec<_> = inventory.components.keys().map(String::as_str).collect();
        let expected = [
            "pkg:cargo/serde@1.0.229",
            "pkg:cargo/serde_core@1.0.229",
            "pkg:cargo/zstd-sys@2.0.16%2Bzstd.1.5.7",
            "watchpost-pki@0.1.0",
            "watchpost@0.1.0",
        ];
        assert_eq!(references, expected);
        let children = |parent: &str| Vec::from_iter(inventory.dependencies[parent].iter().map(String::as_str));
        assert_eq!(children("watchpost@0.1.0"), [expected[0], expected[3]]);
        assert_eq!(children("watchpost-pki@0.1.0"), [expected[0], expected[2]]);
        assert_eq!(children(expected[0]), [expected[1]]);
        let older = &inventory.components[expected[1]];
        assert_eq!(older.license.as_deref(), Some("MIT OR Apache-2.0"));
        let archive = &inventory.components[expected[0]];
        assert_eq!(archive.sha256.as_deref(), Some("0".repeat(64).as_str()));
        assert_eq!(inventory.components["watchpost@0.1.0"].sha256, None);
    }

    #[test]
    fn a_crate_without_a_checksum_is_an_error() {
        let tree = Tree::parse(TREE).unwrap();
        let error = tree.add_to(&mut Inventory::default(), &checksums_of(&[])).unwrap_err();
        assert_eq!(error.to_string(), "Cargo.lock has no checksum of serde 1.0.229");
    }

    #[test]
    fn unexpected_output_is_an_error() {
        let error = Tree::parse("0|watchpost v0.1.0 (/src/server)|Apache-2.0|\nsomething\n").unwrap_err();
        assert_eq!(error.to_string(), "unexpected output of cargo tree: \"something\"");
    }
}
