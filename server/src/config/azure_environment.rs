//! Imports the environment variables with which Azure configures credentials: those of Kubernetes workload
//! identity, of App Service and of the Azure Arc agent. They fill settings that no other layer sets, and only if
//! Azure resources are configured.

use std::path::Path;

use super::errors::ConfigErrors;
use super::raw_settings::RawSettings;
use super::sources::{Variable, last};

/// A variable, the setting that it fills, and the variables that must or must not be set with it.
struct ImportedVariable {
    name: &'static str,
    key: &'static str,
    with: &'static [&'static str],
    /// If one of these is set, the variable means something else.
    without: &'static [&'static str],
}

const fn known(name: &'static str, key: &'static str) -> ImportedVariable {
    ImportedVariable {
        name,
        key,
        with: &[],
        without: &[],
    }
}

/// If it is set, `IDENTITY_ENDPOINT` is that of Service Fabric, whose protocol differs.
const SERVICE_FABRIC: &str = "IDENTITY_SERVER_THUMBPRINT";

/// If it is set and `IDENTITY_HEADER` is not, `IDENTITY_ENDPOINT` is that of Azure Arc.
const ARC: &str = "IMDS_ENDPOINT";

const VARIABLES: [ImportedVariable; 8] = [
    known("AZURE_TENANT_ID", "azure.credentials.tenant_id"),
    known("AZURE_CLIENT_ID", "azure.credentials.client_id"),
    known("AZURE_CLIENT_SECRET", "azure.credentials.client_secret"),
    known("AZURE_FEDERATED_TOKEN_FILE", "azure.credentials.federated_token_file"),
    known("AZURE_AUTHORITY_HOST", "azure.endpoints.authority"),
    ImportedVariable {
        with: &["IDENTITY_HEADER"],
        without: &[SERVICE_FABRIC],
        ..known("IDENTITY_ENDPOINT", "azure.credentials.identity_endpoint")
    },
    ImportedVariable {
        with: &["IDENTITY_ENDPOINT"],
        without: &[SERVICE_FABRIC],
        ..known("IDENTITY_HEADER", "azure.credentials.identity_header")
    },
    ImportedVariable {
        with: &[ARC],
        without: &["IDENTITY_HEADER", SERVICE_FABRIC],
        ..known("IDENTITY_ENDPOINT", "azure.credentials.arc_endpoint")
    },
];

/// Whether Azure sets a variable of this name, or the import depends on it.
pub(super) fn is_known(name: &str) -> bool {
    let is_this = |known: &&str| known.eq_ignore_ascii_case(name);
    let is_condition = |known: &ImportedVariable| known.with.iter().chain(known.without).any(&is_this);
    VARIABLES
        .iter()
        .any(|known| is_this(&known.name) || is_condition(known))
}

/// Fills the settings that no other layer sets.
pub(super) fn fill(given: &mut RawSettings, variables: &[Variable], folder: &Path, errors: &mut ConfigErrors) {
    let resources = given.value("azure.resources").and_then(|list| list.as_array());
    if resources.is_none_or(Vec::is_empty) {
        return;
    }
    let is_there = |name: &&str| last(variables, name).is_some();
    for known in &VARIABLES {
        let Some(variable) = last(variables, known.name) else {
            continue;
        };
        if !known.with.iter().all(&is_there) || known.without.iter().any(&is_there) {
            continue;
        }
        if let Some(of_text) = given.unset(known.key) {
            let value = of_text(&variable.text);
            given.set_value(known.key, value, variable.origin.clone(), folder, errors);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::super::raw_settings::leaves;
    use super::super::setting::Setting;
    use super::*;

    #[test]
    fn every_variable_fills_an_existing_setting() {
        let fields = Config::fields();
        let keys: Vec<_> = leaves(&fields).into_iter().map(|(key, ..)| key).collect();
        for known in &VARIABLES {
            assert!(keys.iter().any(|key| key == known.key), "{}", known.key);
        }
    }

    #[test]
    fn conditions_are_known_variables_and_others_are_not() {
        for name in ["AZURE_TENANT_ID", "IDENTITY_HEADER", "IMDS_ENDPOINT", SERVICE_FABRIC] {
            assert!(is_known(name), "{name}");
        }
        assert!(!is_known("AZURE_STORAGE_KEY") && !is_known("IDENTITY"));
    }
}
