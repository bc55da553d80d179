//! The environment variables of Azure: when they are imported, what they set, and what overrides them.

use super::Case;

const RESOURCES: &str = "[azure]\nresources = [{ id = '/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/v' }]\n";

const WORKLOAD: [(&str, &str); 4] = [
    ("AZURE_TENANT_ID", "t"),
    ("AZURE_CLIENT_ID", "c"),
    (
        "AZURE_FEDERATED_TOKEN_FILE",
        "/var/run/secrets/azure/tokens/azure-identity-token",
    ),
    ("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.us/"),
];

const APP: [(&str, &str); 2] = [
    ("IDENTITY_ENDPOINT", "http://127.0.0.1:41001/msi/token"),
    ("IDENTITY_HEADER", "hunter2"),
];

#[test]
fn workload_identity_variables_are_imported() {
    let config = Case::new().toml(RESOURCES).environment(WORKLOAD).load();
    let credentials = &config.azure.credentials;
    assert_eq!(
        (credentials.tenant_id.as_deref(), credentials.client_id.as_deref()),
        (Some("t"), Some("c"))
    );
    let file = credentials.federated_token_file.as_deref().expect("it is filled");
    assert!(file.ends_with("azure-identity-token"), "{}", file.display());
    assert_eq!(
        config.azure.settings().endpoints.authority,
        "https://login.microsoftonline.us"
    );
    let shown = config.show();
    for variable in WORKLOAD.map(|(name, _)| name) {
        assert!(
            shown.contains(&format!("# environment {variable}")),
            "{variable}: {shown}"
        );
    }
}

#[test]
fn app_service_variables_are_imported_and_the_header_is_masked() {
    let config = Case::new().toml(RESOURCES).environment(APP).load();
    let credentials = &config.azure.credentials;
    assert_eq!(
        credentials.identity_endpoint.as_deref(),
        Some("http://127.0.0.1:41001/msi/token")
    );
    let header = credentials.identity_header.as_ref();
    assert_eq!(header.map(|header| header.expose().as_str()), Some("hunter2"));
    assert_eq!(credentials.arc_endpoint, None);
    let shown = config.show();
    assert!(
        shown.contains("identity_header = \"********\"  # environment IDENTITY_HEADER"),
        "{shown}"
    );
    assert!(!shown.contains("hunter2") && !format!("{config:?}").contains("hunter2"));
}

#[test]
fn azure_arc_variables_are_imported() {
    let arc = [
        (
            "IDENTITY_ENDPOINT",
            "http://localhost:40342/metadata/identity/oauth2/token",
        ),
        ("IMDS_ENDPOINT", "http://localhost:40342"),
    ];
    let config = Case::new().toml(RESOURCES).environment(arc).load();
    let credentials = &config.azure.credentials;
    assert_eq!(
        credentials.arc_endpoint.as_deref(),
        Some("http://localhost:40342/metadata/identity/oauth2/token")
    );
    assert_eq!(credentials.identity_endpoint, None);
}

#[test]
fn incomplete_variables_and_those_of_service_fabric_are_ignored() {
    let alone = Case::new().toml(RESOURCES).environment([APP[0]]).load();
    let header = Case::new().toml(RESOURCES).environment([APP[1]]).load();
    let fabric = [APP[0], APP[1], ("IDENTITY_SERVER_THUMBPRINT", "ab")];
    let fabric = Case::new().toml(RESOURCES).environment(fabric).load();
    for config in [alone, header, fabric] {
        let credentials = &config.azure.credentials;
        assert!(credentials.identity_endpoint.is_none() && credentials.identity_header.is_none());
        assert_eq!(credentials.arc_endpoint, None);
    }
}

#[test]
fn without_azure_resources_even_invalid_variables_are_ignored() {
    let nonsense = [("AZURE_AUTHORITY_HOST", "?"), ("AZURE_FEDERATED_TOKEN_FILE", "token")];
    let config = Case::new().environment(nonsense).load();
    assert_eq!(config.azure.credentials.federated_token_file, None);
    assert_eq!(config.azure.endpoints.authority, "https://login.microsoftonline.com");
    let error = Case::new().toml(RESOURCES).environment([nonsense[0]]).error();
    assert!(
        error.starts_with("environment AZURE_AUTHORITY_HOST: azure.endpoints.authority: not a valid base URL"),
        "{error}"
    );
}

#[test]
fn watchpost_settings_override_azure_variables() {
    let config = Case::new()
        .toml(&format!("{RESOURCES}[azure.credentials]\nclient_id = 'configured'\n"))
        .environment(WORKLOAD)
        .flag("azure.endpoints.authority", "https://login.example")
        .load();
    assert_eq!(config.azure.credentials.client_id.as_deref(), Some("configured"));
    assert_eq!(config.azure.credentials.tenant_id.as_deref(), Some("t"));
    assert_eq!(config.azure.endpoints.authority, "https://login.example");
}
