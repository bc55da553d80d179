//! In which forms metrics are served. Which of them a client gets is decided where it is answered.

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Prometheus' text format, version 0.0.4, which everyone reads.
    Text,
    /// `OpenMetrics`, version 1.0.0, for those who prefer it.
    OpenMetrics,
}

impl Format {
    /// What the answer's `Content-Type` says. Prometheus 3 refuses an answer without it.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// How the answer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// By gzip, which Prometheus asks for.
    Gzip,
    /// By zstd.
    Zstd,
}

impl Encoding {
    /// What the answer's `Content-Encoding` says; an answer that is not compressed has none.
    pub const fn content_encoding(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }
}
