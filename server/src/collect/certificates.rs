//! The remaining validity of the TLS files as a source, so that threshold rules can alert on it.

use std::sync::Arc;

use watchpost_policies::MetricPattern;

use super::probe::{Probe, Reading, patterns};
use crate::tls::{Expiry, Tls};

/// The name of the source in gaps.
const NAME: &str = "certificates";

const REMAINING: &str = "certificate_remaining_seconds";

/// Reports how long the server certificate, the client authorities and the revocation lists are valid.
pub struct Certificates(Arc<Tls>);

impl Certificates {
    pub fn new(tls: Arc<Tls>) -> Self {
        Self(tls)
    }
}

impl Probe for Certificates {
    fn name(&self) -> &'static str {
        NAME
    }

    fn metrics(&self) -> Vec<MetricPattern> {
        patterns(&[REMAINING])
    }

    fn measure(&mut self, now_ms: u64) -> Result<Reading, String> {
        let mut reading = Reading::default();
        let now = i64::try_from(now_ms / 1000).unwrap_or(i64::MAX);
        let Expiry {
            server_leaf,
            last_client_ca,
            crl,
            ..
        } = self.0.expiry();
        for (kind, end) in [
            ("server", Some(server_leaf)),
            ("ca", Some(last_client_ca)),
            ("crl", crl),
        ] {
            if let Some(end) = end {
                let remaining = end.saturating_sub(now) as f64;
                reading.add(REMAINING, &[("kind", kind)], remaining, "seconds", now_ms);
            }
        }
        Ok(reading)
    }
}
