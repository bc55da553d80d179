//! What the Azure source is told: which resources, which of their metrics, whom to ask and as whom. Nothing here is
//! read from a file or asks anybody.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use watchpost_policies::MetricName;

use super::resource::ResourceId;

/// What stands where a secret would.
pub(super) const MASK: &str = "********";

/// All that the source is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is measured.
    pub resources: Vec<Resource>,
    /// Metrics besides the ready ones. One with the name of a ready metric takes its place.
    pub mappings: Vec<Mapping>,
    /// Whom to ask.
    pub endpoints: Endpoints,
    /// As whom to ask.
    pub credentials: Credentials,
    /// How far back a value may lie. Azure is up to three minutes late.
    pub window: Duration,
    /// The time between two points of a metric.
    pub interval: Duration,
    /// Where the agent of Azure Arc keeps what it wants to see; no other file is shown to it.
    pub arc_keys: PathBuf,
    /// How long one request may take.
    pub request_timeout: Duration,
    /// How long all requests of a round may take together; what is not answered by then is a gap. Whoever asks has to
    /// wait a little longer, or he gets nothing of what was answered.
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

/// One resource of Azure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its id.
    pub id: ResourceId,
    /// Where it runs: `westeurope`. Only those with a region are asked for in batches.
    pub region: Option<String>,
}

/// How a metric of Azure becomes one of ours.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapping {
    /// What we call it: `memory`.
    pub metric: MetricName,
    /// What Azure calls it: `Available Memory Percentage`.
    pub name: String,
    /// Where Azure keeps it, if that is not the resource's own type: `Azure.VM.Windows.GuestMetrics`.
    pub namespace: Option<String>,
    /// The type of resource that has it; without one, every resource is asked for it.
    pub kind: Option<String>,
    /// Which number about an interval.
    pub aggregation: Aggregation,
    /// What is done to the number.
    pub transform: Transform,
    /// What it counts, if that is not what Azure says.
    pub unit: Option<String>,
    /// Which of its dimensions: `LUN eq '*'`. Each that is found is a series with the dimensions as labels.
    pub filter: Option<String>,
    /// Labels of its series besides `resource`.
    pub labels: Vec<(String, String)>,
}

/// Which number about an interval of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Aggregation {
    /// The mean.
    Average,
    /// The smallest.
    Minimum,
    /// The largest.
    Maximum,
    /// The sum.
    Total,
    /// How many were counted.
    Count,
}

impl Aggregation {
    /// All there are.
    pub const ALL: [Self; 5] = [Self::Average, Self::Minimum, Self::Maximum, Self::Total, Self::Count];

    /// The word, which Azure uses too.
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

/// What is done to a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Transform {
    /// Nothing.
    Identity,
    /// What is missing of a hundred: what is used, where Azure tells what is free.
    Complement,
    /// It is multiplied.
    Scale(f64),
}

impl Transform {
    pub(super) fn of(self, value: f64) -> f64 {
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

/// A text that is no setting of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSetting {
    /// Not the word for a number about an interval.
    #[error("write average, minimum, maximum, total or count")]
    Aggregation,
    /// Not what can be done to a number.
    #[error("write identity, 100 - x, or x * and a number, such as x * 0.001")]
    Transform,
}

/// Whom to ask. Each is a URL without a `/` at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Azure Resource Manager.
    pub arm: String,
    /// What tokens for it are made out to.
    pub arm_audience: String,
    /// Who gives tokens to applications.
    pub authority: String,
    /// Who gives tokens to machines.
    pub imds: String,
    /// Who answers batches, if somebody does; `{region}` in it is the region of the resources.
    pub metrics: Option<String>,
    /// What tokens for batches are made out to.
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

/// As whom to ask. What is missing is not tried; without any, the machine's own identity is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The tenant of the application.
    pub tenant_id: Option<String>,
    /// The application, or the identity of several that a machine has.
    pub client_id: Option<String>,
    /// The application's secret.
    pub client_secret: Option<Hidden>,
    /// The application's certificate with its key, PEM or PKCS#12.
    pub certificate: Option<PathBuf>,
    /// What opens it.
    pub certificate_password: Option<Hidden>,
    /// The file with the token of a workload, as Kubernetes gives it.
    pub federated_token_file: Option<PathBuf>,
    /// Where App Service gives tokens: its `IDENTITY_ENDPOINT`.
    pub identity_endpoint: Option<String>,
    /// What App Service wants to see for it: its `IDENTITY_HEADER`.
    pub identity_header: Option<Hidden>,
    /// Where the agent of Azure Arc gives tokens: its `IDENTITY_ENDPOINT`.
    pub arc_endpoint: Option<String>,
}

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one who needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transform_is_read_as_it_is_written() {
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
    fn an_aggregation_is_one_of_azures_words() {
        for one in Aggregation::ALL {
            assert_eq!(one.as_str().parse(), Ok(one));
        }
        assert_eq!("Total".parse(), Ok(Aggregation::Total));
        assert_eq!("sum".parse::<Aggregation>(), Err(InvalidSetting::Aggregation));
    }

    #[test]
    fn secrets_are_not_shown() {
        let credentials = Credentials {
            client_secret: Some(Hidden::new("hunter2")),
            certificate_password: Some(Hidden::new("hunter2")),
            identity_header: Some(Hidden::new("hunter2")),
            ..Credentials::default()
        };
        let shown = format!("{credentials:?}");
        assert!(shown.contains(MASK) && !shown.contains("hunter2"), "{shown}");
    }
}
