//! The variables by which Azure tells whatever it runs as whom to ask: Kubernetes with workload identity, App Service,
//! and the agent of Azure Arc. They fill what nobody said in our own words, where resources of Azure are watched; where
//! none are, they say nothing.

use std::path::Path;

use super::errors::ConfigErrors;
use super::raw_settings::RawSettings;
use super::sources::{Variable, last};

/// A variable, the setting that it fills, and those that have to be there with it.
struct Known {
    name: &'static str,
    key: &'static str,
    with: &'static [&'static str],
    /// With these it means something else.
    without: &'static [&'static str],
}

const fn known(name: &'static str, key: &'static str) -> Known {
    Known {
        name,
        key,
        with: &[],
        without: &[],
    }
}

/// With it, `IDENTITY_ENDPOINT` is that of Service Fabric, which speaks otherwise.
const SERVICE_FABRIC: &str = "IDENTITY_SERVER_THUMBPRINT";

/// With it and no header, `IDENTITY_ENDPOINT` is that of Azure Arc.
const ARC: &str = "IMDS_ENDPOINT";

const VARIABLES: [Known; 8] = [
    known("AZURE_TENANT_ID", "azure.credentials.tenant_id"),
    known("AZURE_CLIENT_ID", "azure.credentials.client_id"),
    known("AZURE_CLIENT_SECRET", "azure.credentials.client_secret"),
    known("AZURE_FEDERATED_TOKEN_FILE", "azure.credentials.federated_token_file"),
    known("AZURE_AUTHORITY_HOST", "azure.endpoints.authority"),
    Known {
        with: &["IDENTITY_HEADER"],
        without: &[SERVICE_FABRIC],
        ..known("IDENTITY_ENDPOINT", "azure.credentials.identity_endpoint")
    },
    Known {
        with: &["IDENTITY_ENDPOINT"],
        without: &[SERVICE_FABRIC],
        ..known("IDENTITY_HEADER", "azure.credentials.identity_header")
    },
    Known {
        with: &[ARC],
        without: &["IDENTITY_HEADER", SERVICE_FABRIC],
        ..known("IDENTITY_ENDPOINT", "azure.credentials.arc_endpoint")
    },
];

/// Whether Azure sets a variable of this name, or looks at it.
pub(super) fn is_known(name: &str) -> bool {
    let is_this = |known: &&str| known.eq_ignore_ascii_case(name);
    let is_looked_at = |known: &Known| known.with.iter().chain(known.without).any(&is_this);
    VARIABLES
        .iter()
        .any(|known| is_this(&known.name) || is_looked_at(known))
}

/// Fills what nobody said.
pub(super) fn fill(given: &mut RawSettings, variables: &[Variable], folder: &Path, mistakes: &mut ConfigErrors) {
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
            given.lay_value(known.key, value, variable.origin.clone(), folder, mistakes);
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
    fn every_variable_fills_a_setting_that_there_is() {
        let fields = Config::fields();
        let keys: Vec<_> = leaves(&fields).into_iter().map(|(key, ..)| key).collect();
        for known in &VARIABLES {
            assert!(keys.iter().any(|key| key == known.key), "{}", known.key);
        }
    }

    #[test]
    fn what_is_only_looked_at_is_known_too_and_others_are_not() {
        for name in ["AZURE_TENANT_ID", "IDENTITY_HEADER", "IMDS_ENDPOINT", SERVICE_FABRIC] {
            assert!(is_known(name), "{name}");
        }
        assert!(!is_known("AZURE_STORAGE_KEY") && !is_known("IDENTITY"));
    }
}
