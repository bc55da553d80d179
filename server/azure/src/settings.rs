//! Settings of the Azure source: resources, metrics, endpoints and credentials. `config` fills them in.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use watchpost_policies::MetricName;

use super::resource::ResourceId;
use watchpost_secret::Secret;

/// Settings of the source.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The resources to query.
    pub resources: Vec<Resource>,
    /// Metrics in addition to the built-in ones; those with the name of a built-in metric replace it.
    pub mappings: Vec<Mapping>,
    pub endpoints: Endpoints,
    pub credentials: Credentials,
    /// How far back a query looks for a value. Azure publishes values up to three minutes late.
    pub window: Duration,
    /// The interval between two points of a metric.
    pub interval: Duration,
    /// The directory of the Azure Arc agent's keys; no other file is sent to the agent.
    pub arc_keys: PathBuf,
    /// Timeout for a single request.
    pub request_timeout: Duration,
    /// Timeout for all requests of a round together; what is not answered by then is a gap. The collector's
    /// timeout must be longer, or it discards the partial result.
    pub round_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            resources: Vec::new(),
            mappings: Vec::new(),
            endpoints: Endpoints::default(),
            credentials: Credentials::default(),
            window: Duration::from_secs(600),
            interval: Duration::from_secs(60),
            arc_keys: PathBuf::from("/var/opt/azcmagent/tokens"),
            request_timeout: Duration::from_secs(10),
            round_timeout: Duration::from_secs(27),
        }
    }
}

/// An Azure resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The resource id.
    pub id: ResourceId,
    /// The region: `westeurope`. Only resources with a region are queried in batches.
    pub region: Option<String>,
}

/// Maps a metric of Azure to one of Watchpost.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapping {
    /// The name in Watchpost: `memory`.
    pub metric: MetricName,
    /// The name in Azure: `Available Memory Percentage`.
    pub name: String,
    /// The metric namespace, if it is not the resource's own type: `Azure.VM.Windows.GuestMetrics`.
    pub namespace: Option<String>,
    /// The type of resources that have the metric; without it, all resources are queried.
    pub kind: Option<String>,
    /// The aggregation over an interval.
    pub aggregation: Aggregation,
    /// The transformation of the value.
    pub transform: Transform,
    /// The unit, if it is not the one that Azure reports.
    pub unit: Option<String>,
    /// A filter on dimensions: `LUN eq '*'`. Each combination of values is a series with the dimensions as
    /// labels.
    pub filter: Option<String>,
    /// Labels in addition to `resource`.
    pub labels: Vec<(String, String)>,
}

/// An aggregation over a time interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Aggregation {
    /// The mean.
    Average,
    /// The minimum.
    Minimum,
    /// The maximum.
    Maximum,
    /// The sum.
    Total,
    /// The number of measurements.
    Count,
}

impl Aggregation {
    /// All aggregations.
    pub const ALL: [Self; 5] = [Self::Average, Self::Minimum, Self::Maximum, Self::Total, Self::Count];

    /// The name, in lower case as in Azure's API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Average => "average",
            Self::Minimum => "minimum",
            Self::Maximum => "maximum",
            Self::Total => "total",
            Self::Count => "count",
        }
    }
}

impl FromStr for Aggregation {
    type Err = InvalidSetting;

    fn from_str(text: &str) -> Result<Self, InvalidSetting> {
        let named = |one: &Self| one.as_str().eq_ignore_ascii_case(text.trim());
        Self::ALL.into_iter().find(named).ok_or(InvalidSetting::Aggregation)
    }
}

/// A transformation of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Transform {
    /// Leaves the value unchanged.
    Identity,
    /// The complement to 100 percent: converts free to used.
    Complement,
    /// Multiplies the value.
    Scale(f64),
}

impl Transform {
    pub(crate) fn of(self, value: f64) -> f64 {
        match self {
            Self::Identity => value,
            Self::Complement => 100.0 - value,
            Self::Scale(factor) => value * factor,
        }
    }
}

impl FromStr for Transform {
    type Err = InvalidSetting;

    fn from_str(text: &str) -> Result<Self, InvalidSetting> {
        let dense: String = text.split_whitespace().collect();
        match dense.as_str() {
            "identity" | "x" => Ok(Self::Identity),
            "100-x" => Ok(Self::Complement),
            other => {
                let factor = other.strip_prefix("x*").and_then(|factor| factor.parse().ok());
                let factor = factor.filter(|factor: &f64| factor.is_finite());
                factor.map(Self::Scale).ok_or(InvalidSetting::Transform)
            }
        }
    }
}

impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity => f.write_str("identity"),
            Self::Complement => f.write_str("100 - x"),
            Self::Scale(factor) => write!(f, "x * {factor}"),
        }
    }
}

/// A text that is not a valid aggregation or transformation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSetting {
    /// Not an aggregation.
    #[error("write average, minimum, maximum, total or count")]
    Aggregation,
    /// Not a transformation.
    #[error("write identity, 100 - x, or x * and a number, such as x * 0.001")]
    Transform,
}

/// The endpoints, as URLs without a trailing `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Azure Resource Manager.
    pub arm: String,
    /// The audience of tokens for Azure Resource Manager.
    pub arm_audience: String,
    /// The authority that issues tokens to applications.
    pub authority: String,
    /// The metadata service that issues tokens to virtual machines.
    pub imds: String,
    /// The batch endpoint, if batches are used; `{region}` in it is replaced by the region of the resources.
    pub metrics: Option<String>,
    /// The audience of tokens for the batch endpoint.
    pub metrics_audience: String,
}

impl Default for Endpoints {
    fn default() -> Self {
        Self {
            arm: "https://management.azure.com".to_owned(),
            arm_audience: "https://management.azure.com".to_owned(),
            authority: "https://login.microsoftonline.com".to_owned(),
            imds: "http://169.254.169.254".to_owned(),
            metrics: None,
            metrics_audience: "https://metrics.monitor.azure.com".to_owned(),
        }
    }
}

/// The credentials. Those that are not set are not tried; without any, the machine's managed identity is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The tenant of the application.
    pub tenant_id: Option<String>,
    /// The client id of the application, or of one of several managed identities.
    pub client_id: Option<String>,
    /// The application's client secret.
    pub client_secret: Option<Secret>,
    /// The application's certificate with its key, as PEM or PKCS#12.
    pub certificate: Option<PathBuf>,
    /// The password of the certificate file.
    pub certificate_password: Option<Secret>,
    /// The file with the workload identity token that Kubernetes provides.
    pub federated_token_file: Option<PathBuf>,
    /// The token endpoint of App Service: `IDENTITY_ENDPOINT`.
    pub identity_endpoint: Option<String>,
    /// The secret that App Service expects in token requests: `IDENTITY_HEADER`.
    pub identity_header: Option<Secret>,
    /// The token endpoint of the Azure Arc agent: `IDENTITY_ENDPOINT`.
    pub arc_endpoint: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use watchpost_secret::MASK;

    #[test]
    fn a_transform_is_parsed_as_it_is_displayed() {
        let check = |text: &str, read: Transform, value: f64| {
            assert_eq!(text.parse(), Ok(read), "{text}");
            assert_eq!(read.to_string().parse(), Ok(read), "{text}");
            assert!((read.of(40.0) - value).abs() < 1e-9, "{text}");
        };
        check("identity", Transform::Identity, 40.0);
        check("100 - x", Transform::Complement, 60.0);
        check("100-x", Transform::Complement, 60.0);
        check("x * 0.001", Transform::Scale(0.001), 0.04);
        check("x*1e-3", Transform::Scale(0.001), 0.04);
        for text in ["", "x *", "x * inf", "x * nan", "x / 2", "101 - x", "2 * x"] {
            assert_eq!(text.parse::<Transform>(), Err(InvalidSetting::Transform), "{text}");
        }
    }

    #[test]
    fn aggregations_are_named_as_in_azure() {
        for one in Aggregation::ALL {
            assert_eq!(one.as_str().parse(), Ok(one));
        }
        assert_eq!("Total".parse(), Ok(Aggregation::Total));
        assert_eq!("sum".parse::<Aggregation>(), Err(InvalidSetting::Aggregation));
    }

    #[test]
    fn secrets_are_masked() {
        let credentials = Credentials {
            client_secret: Some(Secret::new("hunter2".to_owned())),
            certificate_password: Some(Secret::new("hunter2".to_owned())),
            identity_header: Some(Secret::new("hunter2".to_owned())),
            ..Credentials::default()
        };
        let shown = format!("{credentials:?}");
        assert!(shown.contains(MASK) && !shown.contains("hunter2"), "{shown}");
    }
}
