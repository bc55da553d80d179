//! The formats and encodings in which metrics are served. The HTTP handler negotiates which of them a client gets.

/// The text format of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Prometheus' text format, version 0.0.4, which every client reads.
    Text,
    /// `OpenMetrics`, version 1.0.0, for clients that prefer it.
    OpenMetrics,
}

impl Format {
    /// The response's `Content-Type`. Prometheus 3 refuses a response without it.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The compression of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// No compression.
    Identity,
    /// gzip, which Prometheus requests.
    Gzip,
    /// zstd.
    Zstd,
}

impl Encoding {
    /// The response's `Content-Encoding`; an uncompressed response has none.
    pub const fn content_encoding(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }
}
