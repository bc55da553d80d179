//! Resources and their metrics, as a test defines them. `metrics` makes the responses.

/// A resource with its metrics.
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

    /// Sets the region.
    pub fn region(mut self, region: &str) -> Self {
        region.clone_into(&mut self.region);
        self
    }

    /// Adds a metric.
    pub fn with(mut self, metric: Metric) -> Self {
        self.metrics.push(metric);
        self
    }

    /// Denies every identity to read it.
    pub fn denied(mut self) -> Self {
        self.denied = true;
        self
    }

    pub(super) fn is(&self, id: &str) -> bool {
        self.id.trim_matches('/').eq_ignore_ascii_case(id.trim_matches('/'))
    }

    /// The type, which is the default namespace of its metrics.
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
    /// Values per minute in descending order; the last one repeats for all earlier minutes. The unit is one of Azure's.
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

    /// Sets another namespace than the type of the resource.
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// Leaves out the newest minutes.
    pub fn late(mut self, minutes: u64) -> Self {
        self.late = minutes;
        self
    }

    /// Leaves the newest minutes without a value.
    pub fn valueless(mut self, minutes: u64) -> Self {
        self.valueless = minutes;
        self
    }

    /// Makes `timeseries` empty.
    pub fn empty(mut self) -> Self {
        self.empty = true;
        self
    }

    /// Restricts the supported aggregations.
    pub fn only(mut self, aggregations: &[&str]) -> Self {
        self.only = Some(aggregations.iter().map(|word| word.to_lowercase()).collect());
        self
    }

    /// Makes this metric an error in a successful response.
    pub fn error(mut self, code: &str, message: &str) -> Self {
        self.error = Some((code.to_owned(), message.to_owned()));
        self
    }

    /// Adds a dimension. With a filter on it, each value of the dimension is a series, each by one greater than the
    /// last.
    pub fn dimension(mut self, name: &str, values: &[&str]) -> Self {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        self.dimension = Some((name.to_owned(), values));
        self
    }
}
