//! Third-party scripts in `server/assets`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::cargo::read_toml;
use crate::{Component, SbomError};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vendored {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Package {
    name: String,
    version: String,
    license: String,
    repository: String,
    archive_sha256: String,
    files: BTreeMap<String, String>,
}

/// The packages of `server/assets/vendored.toml`.
pub(crate) fn packages(workspace: &Path) -> Result<Vec<Component>, SbomError> {
    let vendored: Vendored = read_toml(&workspace.join("server/assets/vendored.toml"))?;
    let component = |package: Package| Component {
        purl: Some(format!("pkg:npm/{}@{}", package.name, package.version)),
        name: package.name,
        version: package.version,
        license: Some(package.license),
        repository: Some(package.repository),
        cpe: None,
        sha256: Some(package.archive_sha256),
        files: package.files,
    };
    Ok(vendored.packages.into_iter().map(component).collect())
}
