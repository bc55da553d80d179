//! Settings of the Azure Monitor source: resources, metrics, endpoints and credentials.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use watchpost_policies::MetricName;

use super::declare::{Checked, section};
use super::errors::ConfigErrors;
use super::origin::SettingLocation;
use super::raw_settings::Reader;
use super::scalar::refused;
use super::setting::Setting;
use crate::collect::source::Schedule;
use watchpost_azure::{Aggregation, Credentials, Endpoints, Mapping, Resource, ResourceId, Settings, Transform};
use watchpost_secret::Secret;

section! {
    /// Azure Monitor. Without resources, nothing is queried.
    pub struct Azure {
        /// The resources to query. The list is one setting: a later layer replaces it entirely.
        pub resources: Vec<AzureResource> = json!([]),
        /// Metrics to query in addition to the built-in ones of virtual machines and App Service plans. An entry
        /// with the name of a built-in metric replaces that metric.
        pub metrics: Vec<AzureMetric> = json!([]),
        /// The endpoints to query, as URLs.
        pub endpoints: AzureEndpoints,
        /// Credentials for Azure: client secret, client certificate, workload identity token, App Service
        /// managed identity, Azure Arc agent, or, as the last resort, the virtual machine's managed identity.
        /// The configured ones are tried in this order, and the first that obtains a token is kept.
        pub credentials: AzureCredentials,
        /// How far back a query looks for a value. Azure publishes values up to three minutes late.
        pub window: Duration where "2m" ..= "1d" = "10m",
        /// How often the resources are queried. Rounds in between reuse the last result.
        pub interval: Duration where "1s" ..= "1h" = "60s",
        /// Timeout for all requests of one query together.
        pub timeout: Duration where "100ms" ..= "10m" = "30s",
        /// Timeout for a single request. At most `azure.timeout`.
        pub request_timeout: Duration where "100ms" ..= "10m" = "10s",
    }
}

impl Checked for Azure {
    fn check(&mut self, reader: &mut Reader<'_>) {
        if self.request_timeout > self.timeout {
            let remedy = "azure.request_timeout is longer than azure.timeout; set azure.timeout to at least \
                          azure.request_timeout";
            reader.error(&["request_timeout", "timeout"], remedy);
        }
    }
}

section! {
    /// A resource.
    pub struct AzureResource {
        /// The resource id, as the portal shows it: `/subscriptions/ID/resourceGroups/NAME/providers/TYPE/NAME`.
        pub id: ResourceId,
        /// The region of the resource, such as `westeurope`. With it and `azure.endpoints.metrics`, several
        /// resources are queried in one batch request.
        pub region: Option<String>,
    }
}

impl Checked for AzureResource {
    fn check_list(all: &[Self], location: &SettingLocation, errors: &mut ConfigErrors) {
        for (at, resource) in all.iter().enumerate() {
            let is_same = |earlier: &Self| earlier.id.as_str().eq_ignore_ascii_case(resource.id.as_str());
            if all[..at].iter().any(is_same) {
                let remedy = format!("{} is listed twice; list each resource once", resource.id);
                errors.push(location.item(at).field("id").error(remedy));
            }
        }
    }
}

section! {
    /// A metric.
    pub struct AzureMetric {
        /// The name of the metric in Watchpost, such as `disk`.
        pub metric: MetricName,
        /// The metric namespace, if it is not the resource's own type.
        pub name: String,
        /// The metric namespace, if it is not the resource's own type.
        pub namespace: Option<String>,
        /// The type of the resources that have the metric, such as `Microsoft.Compute/virtualMachines`. Without
        /// it, all resources are queried.
        pub resource_type: Option<String>,
        /// The aggregation over one minute: `average`, `minimum`, `maximum`, `total` or `count`.
        pub aggregation: Aggregation = "average",
        /// The transformation of the value: `identity`, `100 - x`, or `x *` and a number, such as `x * 0.001`.
        pub transform: Transform = "identity",
        /// The unit, such as `percent`, if it is not the one that Azure reports.
        pub unit: Option<String>,
        /// A filter on dimensions, such as `LUN eq '*'`. Each combination of dimension values is a separate
        /// series.
        pub filter: Option<String>,
    }
}

impl Checked for AzureMetric {
    fn check(&mut self, reader: &mut Reader<'_>) {
        if self.name.trim().is_empty() {
            reader.error(
                &["name"],
                "empty name; write the metric's name as in Azure's documentation",
            );
        }
    }
}

section! {
    /// The endpoints, as URLs. The defaults are those of Azure's public cloud.
    pub struct AzureEndpoints {
        /// Azure Resource Manager.
        pub arm: String = Endpoints::default().arm,
        /// The audience of tokens for Azure Resource Manager.
        pub arm_audience: String = Endpoints::default().arm_audience,
        /// The Microsoft Entra ID authority that issues tokens to applications.
        pub authority: String = Endpoints::default().authority,
        /// The Azure Instance Metadata Service, which issues tokens to virtual machines.
        pub imds: String = Endpoints::default().imds,
        /// The endpoint for batch requests over several resources: `https://{region}.metrics.monitor.azure.com`.
        /// Without it, each resource is queried by itself.
        pub metrics: Option<String>,
        /// The audience of tokens for the batch endpoint.
        pub metrics_audience: String = Endpoints::default().metrics_audience,
    }
}

impl Checked for AzureEndpoints {
    fn check(&mut self, reader: &mut Reader<'_>) {
        let metrics = self.metrics.iter().map(|url| ("metrics", url));
        let all = [("arm", &self.arm), ("authority", &self.authority), ("imds", &self.imds)];
        for (name, url) in all.into_iter().chain(metrics) {
            if !is_url(url) {
                reader.error(
                    &[name],
                    "not a valid base URL; write a URL that begins with https:// or http:// and has no query",
                );
            }
        }
    }
}

section! {
    /// The credentials.
    pub struct AzureCredentials {
        /// The tenant of the application.
        pub tenant_id: Option<String>,
        /// The client id of the application, or of the user-assigned identity if the machine has several.
        pub client_id: Option<String>,
        /// The application's client secret.
        pub client_secret: Option<Secret>,
        /// The application's certificate with its RSA key, as PEM or PKCS#12.
        pub certificate: Option<PathBuf>,
        /// The password of the certificate file.
        pub certificate_password: Option<Secret>,
        /// The file with the workload identity token that Kubernetes provides (`AZURE_FEDERATED_TOKEN_FILE`).
        pub federated_token_file: Option<PathBuf>,
        /// The token endpoint of App Service (`IDENTITY_ENDPOINT`).
        pub identity_endpoint: Option<String>,
        /// The secret that App Service expects in token requests (`IDENTITY_HEADER`).
        pub identity_header: Option<Secret>,
        /// The token endpoint of the Azure Arc agent (`IDENTITY_ENDPOINT` where `IMDS_ENDPOINT` is set too).
        pub arc_endpoint: Option<String>,
    }
}

impl Checked for AzureCredentials {
    fn check(&mut self, reader: &mut Reader<'_>) {
        let is_application = self.tenant_id.is_some() && self.client_id.is_some();
        let secrets = [
            ("client_secret", self.client_secret.is_some()),
            ("certificate", self.certificate.is_some()),
            ("federated_token_file", self.federated_token_file.is_some()),
        ];
        for (name, _) in secrets.iter().filter(|(_, given)| *given && !is_application) {
            let remedy =
                "the application is missing; set azure.credentials.tenant_id and azure.credentials.client_id too";
            reader.error(&[*name], remedy);
        }
        if self.certificate_password.is_some() && self.certificate.is_none() {
            let remedy = "a password without a certificate; set azure.credentials.certificate too";
            reader.error(&["certificate_password"], remedy);
        }
        if self.identity_endpoint.is_some() != self.identity_header.is_some() {
            let remedy = "identity_endpoint and identity_header are used together; set both";
            reader.error(&["identity_endpoint", "identity_header"], remedy);
        }
        let endpoints = [
            ("identity_endpoint", &self.identity_endpoint, "App Service sets"),
            ("arc_endpoint", &self.arc_endpoint, "the Azure Arc agent sets"),
        ];
        for (name, url, provider) in endpoints {
            if url.as_ref().is_some_and(|url| !url.starts_with("http")) {
                reader.error(
                    &[name],
                    format!("not a URL; write the URL that {provider} in IDENTITY_ENDPOINT"),
                );
            }
        }
    }
}

fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(['?', '#', ' ']))
}

impl Azure {
    /// The schedule of the source.
    pub fn schedule(&self) -> Schedule {
        Schedule {
            interval: self.interval,
            timeout: self.timeout,
        }
    }

    /// Converts to the settings of the source.
    pub fn settings(&self) -> Settings {
        let resource = |resource: &AzureResource| Resource {
            id: resource.id.clone(),
            region: resource.region.clone(),
        };
        Settings {
            resources: self.resources.iter().map(resource).collect(),
            mappings: self.metrics.iter().map(AzureMetric::mapping).collect(),
            endpoints: self.endpoints.endpoints(),
            credentials: self.credentials.credentials(),
            window: self.window,
            request_timeout: self.request_timeout,
            // The source has to report the received responses before the collector's timeout.
            round_timeout: self.timeout.mul_f64(0.9),
            ..Settings::default()
        }
    }
}

impl Azure {
    /// The metrics that the configuration adds to the built-in ones.
    pub fn metric_names(&self) -> Vec<MetricName> {
        self.metrics.iter().map(|metric| metric.metric.clone()).collect()
    }
}

impl AzureMetric {
    fn mapping(&self) -> Mapping {
        Mapping {
            metric: self.metric.clone(),
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            kind: self.resource_type.clone(),
            aggregation: self.aggregation,
            transform: self.transform,
            unit: self.unit.clone(),
            filter: self.filter.clone(),
            labels: Vec::new(),
        }
    }
}

impl AzureEndpoints {
    fn endpoints(&self) -> Endpoints {
        let base = |url: &String| url.trim_end_matches('/').to_owned();
        Endpoints {
            arm: base(&self.arm),
            arm_audience: base(&self.arm_audience),
            authority: base(&self.authority),
            imds: base(&self.imds),
            metrics: self.metrics.as_ref().map(base),
            metrics_audience: base(&self.metrics_audience),
        }
    }
}

impl AzureCredentials {
    fn credentials(&self) -> Credentials {
        Credentials {
            tenant_id: self.tenant_id.clone(),
            client_id: self.client_id.clone(),
            client_secret: self.client_secret.clone(),
            certificate: self.certificate.clone(),
            certificate_password: self.certificate_password.clone(),
            federated_token_file: self.federated_token_file.clone(),
            identity_endpoint: self.identity_endpoint.clone(),
            identity_header: self.identity_header.clone(),
            arc_endpoint: self.arc_endpoint.clone(),
        }
    }
}

impl Setting for ResourceId {
    fn kind() -> String {
        "Azure resource ID".to_owned()
    }

    fn read(value: &Value, location: &SettingLocation, errors: &mut ConfigErrors) -> Option<Self> {
        let read = value.as_str().and_then(|text| Self::new(text).ok());
        let expected = "the full resource ID in quotes, \"/subscriptions/ID/resourceGroups/NAME/providers/TYPE/NAME\"";
        read.or_else(|| refused(value, location, errors, expected))
    }

    fn written(&self) -> Value {
        Value::from(self.as_str())
    }
}

impl Setting for MetricName {
    fn kind() -> String {
        "metric name".to_owned()
    }

    fn read(value: &Value, location: &SettingLocation, errors: &mut ConfigErrors) -> Option<Self> {
        let read = value.as_str().and_then(|text| Self::new(text).ok());
        let expected = "a name in quotes, of letters, digits, _ and :, that does not start with a digit";
        read.or_else(|| refused(value, location, errors, expected))
    }

    fn written(&self) -> Value {
        Value::from(self.as_str())
    }
}

impl Setting for Aggregation {
    fn kind() -> String {
        Self::ALL.map(Self::as_str).join(" or ")
    }

    fn read(value: &Value, location: &SettingLocation, errors: &mut ConfigErrors) -> Option<Self> {
        let read = value.as_str().and_then(|text| text.parse().ok());
        let expected = "\"average\", \"minimum\", \"maximum\", \"total\" or \"count\"";
        read.or_else(|| refused(value, location, errors, expected))
    }

    fn written(&self) -> Value {
        Value::from(self.as_str())
    }
}

impl Setting for Transform {
    fn kind() -> String {
        "transform".to_owned()
    }

    fn read(value: &Value, location: &SettingLocation, errors: &mut ConfigErrors) -> Option<Self> {
        let read = value.as_str().and_then(|text| text.parse().ok());
        let expected = "\"identity\", \"100 - x\", or \"x *\" and a number such as \"x * 0.001\"";
        read.or_else(|| refused(value, location, errors, expected))
    }

    fn written(&self) -> Value {
        Value::from(self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, ConfigErrors, Sources};
    use watchpost_azure::{Settings, Transform};
    use watchpost_secret::Secret;

    fn load(text: &str) -> Result<Config, ConfigErrors> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("watchpost.toml");
        std::fs::write(&file, text).expect("written");
        Config::load(&Sources {
            file: Some(file),
            ..Sources::default()
        })
    }

    #[test]
    fn defaults_are_those_of_the_source() {
        let settings = load("").expect("it is right").azure.settings();
        assert_eq!(format!("{settings:?}"), format!("{:?}", Settings::default()));
    }

    #[test]
    fn configured_values_reach_the_source_and_secrets_are_masked() {
        let config = load(
            "[[azure.resources]]\n\
             id = '/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/vm-1'\n\
             [[azure.metrics]]\nmetric = 'disk'\nname = 'Free'\ntransform = '100 - x'\n\
             [azure.endpoints]\narm = 'http://127.0.0.1:1/'\n\
             [azure.credentials]\ntenant_id = 't'\nclient_id = 'c'\nclient_secret = 'hunter2'\n",
        )
        .expect("it is right");
        assert!(!config.show().contains("hunter2"), "{}", config.show());
        let settings = config.azure.settings();
        assert_eq!(settings.resources[0].id.name(), "vm-1");
        assert_eq!(settings.mappings[0].transform, Transform::Complement);
        assert_eq!(settings.endpoints.arm, "http://127.0.0.1:1");
        assert_eq!(
            settings.credentials.client_secret,
            Some(Secret::new("hunter2".to_owned()))
        );
    }

    #[test]
    fn contradictory_settings_are_rejected() {
        let check = |text: &str, expected: &str| {
            let errors = load(text).expect_err(text).to_string();
            assert!(errors.contains(expected), "{errors}");
        };
        check("[azure.credentials]\nclient_secret = 'hunter2'\n", "tenant_id");
        check(
            "[azure.credentials]\nidentity_endpoint = 'http://x'\n",
            "identity_header",
        );
        check(
            "[azure.credentials]\ncertificate_password = 'x'\n",
            "azure.credentials.certificate",
        );
        check("[azure.credentials]\narc_endpoint = 'localhost:40342'\n", "Azure Arc");
        check("[azure.endpoints]\narm = 'management.azure.com'\n", "https://");
        check("[azure]\nrequest_timeout = '40s'\n", "azure.timeout");
        check(
            "[[azure.resources]]\nid = '/subscriptions/s/vm-1'\n",
            "/subscriptions/ID/resourceGroups",
        );
        check(
            "[[azure.metrics]]\nmetric = 'disk'\nname = 'x'\ntransform = 'x / 2'\n",
            "100 - x",
        );
        check(
            "[[azure.metrics]]\nmetric = '1disk'\nname = 'x'\n",
            "does not start with a digit",
        );
        let twice = "[[azure.resources]]\nid = '/subscriptions/s/resourceGroups/g/providers/A.B/c/d'\n";
        check(&twice.repeat(2), "listed twice");
    }
}
