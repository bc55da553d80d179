//! Resources with their metrics, as a test says them. What is said of them, is in `metrics`.

/// A resource.
#[derive(Clone, Debug)]
pub struct Place {
    pub(super) id: String,
    pub(super) region: String,
    pub(super) metrics: Vec<Metric>,
    pub(super) denied: bool,
}

impl Place {
    /// A resource without metrics, in `westeurope`.
    pub fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            region: "westeurope".to_owned(),
            metrics: Vec::new(),
            denied: false,
        }
    }

    /// In this region.
    pub fn region(mut self, region: &str) -> Self {
        region.clone_into(&mut self.region);
        self
    }

    /// With this metric.
    pub fn with(mut self, metric: Metric) -> Self {
        self.metrics.push(metric);
        self
    }

    /// Nobody may read it.
    pub fn denied(mut self) -> Self {
        self.denied = true;
        self
    }

    pub(super) fn is(&self, id: &str) -> bool {
        self.id.trim_matches('/').eq_ignore_ascii_case(id.trim_matches('/'))
    }

    /// The type, and so the namespace of the metrics that have no other.
    pub(super) fn kind(&self) -> String {
        let parts: Vec<_> = self.id.trim_matches('/').split('/').skip(5).collect();
        let types = parts.iter().skip(1).step_by(2);
        parts.iter().take(1).chain(types).copied().collect::<Vec<_>>().join("/")
    }
}

/// A metric of a resource.
#[derive(Clone, Debug)]
pub struct Metric {
    pub(super) name: String,
    pub(super) unit: String,
    pub(super) values: Vec<f64>,
    pub(super) namespace: Option<String>,
    pub(super) late: u64,
    pub(super) valueless: u64,
    pub(super) empty: bool,
    pub(super) only: Option<Vec<String>>,
    pub(super) error: Option<(String, String)>,
    pub(super) dimension: Option<(String, Vec<String>)>,
}

impl Metric {
    /// Values by the minute, the newest first; the last goes on for ever. The unit is as Azure writes it.
    pub fn new(name: &str, unit: &str, values: &[f64]) -> Self {
        Self {
            name: name.to_owned(),
            unit: unit.to_owned(),
            values: values.to_vec(),
            namespace: None,
            late: 0,
            valueless: 0,
            empty: false,
            only: None,
            error: None,
            dimension: None,
        }
    }

    /// In another namespace than the resource's type.
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// The newest minutes are not there yet.
    pub fn late(mut self, minutes: u64) -> Self {
        self.late = minutes;
        self
    }

    /// The newest minutes that are there have no value yet.
    pub fn valueless(mut self, minutes: u64) -> Self {
        self.valueless = minutes;
        self
    }

    /// `timeseries` is empty.
    pub fn empty(mut self) -> Self {
        self.empty = true;
        self
    }

    /// It has these aggregations and no others.
    pub fn only(mut self, aggregations: &[&str]) -> Self {
        self.only = Some(aggregations.iter().map(|word| word.to_lowercase()).collect());
        self
    }

    /// The answer is good, and this metric is not.
    pub fn error(mut self, code: &str, message: &str) -> Self {
        self.error = Some((code.to_owned(), message.to_owned()));
        self
    }

    /// It has a dimension. With a filter on it each of its values is a series, with one more than the one before.
    pub fn dimension(mut self, name: &str, values: &[&str]) -> Self {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        self.dimension = Some((name.to_owned(), values));
        self
    }
}
