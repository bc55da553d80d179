//! The settings of what is measured by Azure Monitor: which resources, which metrics, and as whom.

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
use crate::collect::azure::{
    Aggregation, Credentials, Endpoints, Hidden, Mapping, Resource, ResourceId, Settings, Transform,
};
use crate::secret::Secret;

section! {
    /// Azure Monitor. Without resources it is not asked.
    pub struct Azure {
        /// What is measured. The list is one setting: whoever gives it, gives all of it.
        pub resources: Vec<AzureResource> = json!([]),
        /// Metrics besides the ready ones of virtual machines and App Service plans. One with the name of a ready
        /// metric takes its place.
        pub metrics: Vec<AzureMetric> = json!([]),
        /// Whom to ask.
        pub endpoints: AzureEndpoints,
        /// As whom to ask: with a secret, a certificate, the token of a workload, as an app of App Service, as a
        /// machine of Azure Arc, or, last, as the machine. What is set is tried in this order, and the first that gets a token is kept.
        pub credentials: AzureCredentials,
        /// How far back a value may lie. Azure is up to three minutes late.
        pub window: Duration where "2m" ..= "1d" = "10m",
        /// The time from one question to the next; in rounds between, the last answer counts.
        pub interval: Duration where "1s" ..= "1h" = "60s",
        /// How long all answers of a round may take.
        pub timeout: Duration where "100ms" ..= "10m" = "30s",
        /// How long one of them may take.
        pub request_timeout: Duration where "100ms" ..= "10m" = "10s",
    }
}

impl Checked for Azure {
    fn check(&mut self, reader: &mut Reader<'_>) {
        if self.request_timeout > self.timeout {
            let remedy = "one answer may take longer than all together; let azure.timeout be at least as long as \
                          azure.request_timeout";
            reader.mistake(&["request_timeout", "timeout"], remedy);
        }
    }
}

section! {
    /// One resource.
    pub struct AzureResource {
        /// Its id, as the portal shows it: `/subscriptions/ID/resourceGroups/NAME/providers/TYPE/NAME`.
        pub id: ResourceId,
        /// Where it runs, `westeurope`. With it and `azure.endpoints.metrics`, resources are asked for together.
        pub region: Option<String>,
    }
}

impl Checked for AzureResource {
    fn check_list(all: &[Self], place: &SettingLocation, mistakes: &mut ConfigErrors) {
        for (at, resource) in all.iter().enumerate() {
            let is_same = |earlier: &Self| earlier.id.as_str().eq_ignore_ascii_case(resource.id.as_str());
            if all[..at].iter().any(is_same) {
                let remedy = format!("{} is named earlier; name each resource once", resource.id);
                mistakes.push(place.item(at).field("id").mistake(remedy));
            }
        }
    }
}

section! {
    /// One metric.
    pub struct AzureMetric {
        /// What we call it: `disk`.
        pub metric: MetricName,
        /// What Azure calls it in its REST API: `Available Memory Percentage`.
        pub name: String,
        /// Where Azure keeps it, if that is not the resource's own type.
        pub namespace: Option<String>,
        /// The type of resources that have it, `Microsoft.Compute/virtualMachines`. Without one, all are asked.
        pub resource_type: Option<String>,
        /// Which number about a minute: `average`, `minimum`, `maximum`, `total` or `count`.
        pub aggregation: Aggregation = "average",
        /// What is done to the number: `identity`, `100 - x`, or `x *` and a number such as `x * 0.001`.
        pub transform: Transform = "identity",
        /// What it counts, `percent`, if that is not what Azure says.
        pub unit: Option<String>,
        /// Which of its dimensions, `LUN eq '*'`. Each that is found is a series of its own.
        pub filter: Option<String>,
    }
}

impl Checked for AzureMetric {
    fn check(&mut self, reader: &mut Reader<'_>) {
        if self.name.trim().is_empty() {
            reader.mistake(
                &["name"],
                "it is empty; write the metric's name as Azure's documentation does",
            );
        }
    }
}

section! {
    /// Whom to ask: URLs, those of Azure's public cloud by default.
    pub struct AzureEndpoints {
        /// Azure Resource Manager.
        pub arm: String = Endpoints::default().arm,
        /// What tokens for it are made out to.
        pub arm_audience: String = Endpoints::default().arm_audience,
        /// Who gives tokens to applications.
        pub authority: String = Endpoints::default().authority,
        /// Who gives tokens to machines.
        pub imds: String = Endpoints::default().imds,
        /// Who answers about several resources at once: `https://{region}.metrics.monitor.azure.com`. Without it,
        /// each resource is asked for by itself.
        pub metrics: Option<String>,
        /// What tokens for that are made out to.
        pub metrics_audience: String = Endpoints::default().metrics_audience,
    }
}

impl Checked for AzureEndpoints {
    fn check(&mut self, reader: &mut Reader<'_>) {
        let metrics = self.metrics.iter().map(|url| ("metrics", url));
        let all = [("arm", &self.arm), ("authority", &self.authority), ("imds", &self.imds)];
        for (name, url) in all.into_iter().chain(metrics) {
            if !is_url(url) {
                reader.mistake(
                    &[name],
                    "write a URL that begins with https:// or http:// and has no ? in it",
                );
            }
        }
    }
}

section! {
    /// As whom to ask.
    pub struct AzureCredentials {
        /// The tenant of the application.
        pub tenant_id: Option<String>,
        /// The application, or the identity of several that a machine has.
        pub client_id: Option<String>,
        /// The application's secret.
        pub client_secret: Option<Secret>,
        /// The application's certificate with its RSA key, PEM or PKCS#12.
        pub certificate: Option<PathBuf>,
        /// What opens the certificate's file.
        pub certificate_password: Option<Secret>,
        /// The file with the token of a workload, as Kubernetes gives it: `AZURE_FEDERATED_TOKEN_FILE`.
        pub federated_token_file: Option<PathBuf>,
        /// Where App Service gives tokens: `IDENTITY_ENDPOINT`.
        pub identity_endpoint: Option<String>,
        /// What App Service wants to see for one: `IDENTITY_HEADER`.
        pub identity_header: Option<Secret>,
        /// Where the agent of Azure Arc gives tokens: `IDENTITY_ENDPOINT`, where `IMDS_ENDPOINT` is set beside it.
        pub arc_endpoint: Option<String>,
    }
}

impl Checked for AzureCredentials {
    fn check(&mut self, reader: &mut Reader<'_>) {
        let is_application = self.tenant_id.is_some() && self.client_id.is_some();
        let proofs = [
            ("client_secret", self.client_secret.is_some()),
            ("certificate", self.certificate.is_some()),
            ("federated_token_file", self.federated_token_file.is_some()),
        ];
        for (name, _) in proofs.iter().filter(|(_, given)| *given && !is_application) {
            let remedy = "it needs an application; set azure.credentials.tenant_id and azure.credentials.client_id too";
            reader.mistake(&[*name], remedy);
        }
        if self.certificate_password.is_some() && self.certificate.is_none() {
            let remedy = "it opens nothing; set azure.credentials.certificate too";
            reader.mistake(&["certificate_password"], remedy);
        }
        if self.identity_endpoint.is_some() != self.identity_header.is_some() {
            let remedy = "identity_endpoint and identity_header go together; set both";
            reader.mistake(&["identity_endpoint", "identity_header"], remedy);
        }
        let endpoints = [
            ("identity_endpoint", &self.identity_endpoint, "App Service gives"),
            ("arc_endpoint", &self.arc_endpoint, "the agent of Azure Arc sets"),
        ];
        for (name, url, who) in endpoints {
            if url.as_ref().is_some_and(|url| !url.starts_with("http")) {
                reader.mistake(&[name], format!("write the URL that {who} in IDENTITY_ENDPOINT"));
            }
        }
    }
}

fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(['?', '#', ' ']))
}

impl Azure {
    /// As the source takes them.
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
            // What was answered has to be told before whoever asks gives up.
            round_timeout: self.timeout.mul_f64(0.9),
            ..Settings::default()
        }
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
        let hidden = |secret: &Option<Secret>| secret.as_ref().map(|secret| Hidden::new(secret.expose().as_str()));
        Credentials {
            tenant_id: self.tenant_id.clone(),
            client_id: self.client_id.clone(),
            client_secret: hidden(&self.client_secret),
            certificate: self.certificate.clone(),
            certificate_password: hidden(&self.certificate_password),
            federated_token_file: self.federated_token_file.clone(),
            identity_endpoint: self.identity_endpoint.clone(),
            identity_header: hidden(&self.identity_header),
            arc_endpoint: self.arc_endpoint.clone(),
        }
    }
}

impl Setting for ResourceId {
    fn kind() -> String {
        "resource id".to_owned()
    }

    fn read(value: &Value, place: &SettingLocation, mistakes: &mut ConfigErrors) -> Option<Self> {
        let read = value.as_str().and_then(|text| Self::new(text).ok());
        let wanted = "the whole id in quotes, \"/subscriptions/ID/resourceGroups/NAME/providers/TYPE/NAME\"";
        read.or_else(|| refused(value, place, mistakes, wanted))
    }

    fn written(&self) -> Value {
        Value::from(self.as_str())
    }
}

impl Setting for MetricName {
    fn kind() -> String {
        "name of a metric".to_owned()
    }

    fn read(value: &Value, place: &SettingLocation, mistakes: &mut ConfigErrors) -> Option<Self> {
        let read = value.as_str().and_then(|text| Self::new(text).ok());
        let wanted = "a name of letters, digits, _ and : in quotes, no digit first";
        read.or_else(|| refused(value, place, mistakes, wanted))
    }

    fn written(&self) -> Value {
        Value::from(self.as_str())
    }
}

impl Setting for Aggregation {
    fn kind() -> String {
        Self::ALL.map(Self::as_str).join(" or ")
    }

    fn read(value: &Value, place: &SettingLocation, mistakes: &mut ConfigErrors) -> Option<Self> {
        let read = value.as_str().and_then(|text| text.parse().ok());
        let wanted = "\"average\", \"minimum\", \"maximum\", \"total\" or \"count\"";
        read.or_else(|| refused(value, place, mistakes, wanted))
    }

    fn written(&self) -> Value {
        Value::from(self.as_str())
    }
}

impl Setting for Transform {
    fn kind() -> String {
        "transform".to_owned()
    }

    fn read(value: &Value, place: &SettingLocation, mistakes: &mut ConfigErrors) -> Option<Self> {
        let read = value.as_str().and_then(|text| text.parse().ok());
        let wanted = "\"identity\", \"100 - x\", or \"x *\" and a number such as \"x * 0.001\"";
        read.or_else(|| refused(value, place, mistakes, wanted))
    }

    fn written(&self) -> Value {
        Value::from(self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use crate::collect::azure::{Hidden, Settings, Transform};
    use crate::config::{Config, ConfigErrors, Sources};

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
    fn what_is_not_set_is_as_the_source_has_it() {
        let settings = load("").expect("it is right").azure.settings();
        assert_eq!(format!("{settings:?}"), format!("{:?}", Settings::default()));
    }

    #[test]
    fn what_is_set_reaches_the_source_and_no_secret_is_shown() {
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
        assert_eq!(settings.credentials.client_secret, Some(Hidden::new("hunter2")));
    }

    #[test]
    fn what_does_not_go_together_is_told() {
        let check = |text: &str, words: &str| {
            let mistakes = load(text).expect_err(text).to_string();
            assert!(mistakes.contains(words), "{mistakes}");
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
        check("[[azure.metrics]]\nmetric = '1disk'\nname = 'x'\n", "no digit first");
        let twice = "[[azure.resources]]\nid = '/subscriptions/s/resourceGroups/g/providers/A.B/c/d'\n";
        check(&twice.repeat(2), "named earlier");
    }
}
