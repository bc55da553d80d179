//! Derives the API's settings from the configuration, at startup and on each reload.

use actix_web::http::header::HeaderValue;

use crate::api::authn::AuthConfig;
use crate::api::gate::RequestLimits;
use crate::api::rate::RateLimit;
use crate::config::Config;

pub(crate) fn auth_config(config: &Config) -> AuthConfig {
    AuthConfig {
        trusted_proxies: config.http.trusted_proxies.clone(),
        trusted_certificates: config.http.trusted_proxy_certificates.clone(),
        tokens: config.tokens.clone(),
    }
}

/// Room for the settings, a note and the framing of a form.
const UPLOAD_OVERHEAD_BYTES: u64 = 4 * 1024 * 1024;

pub(crate) fn bounds(config: &Config) -> RequestLimits {
    let http = &config.http;
    RequestLimits {
        max_body: http.max_body.bytes(),
        max_upload: config.rules.limits.component_bytes.bytes() + UPLOAD_OVERHEAD_BYTES,
        max_headers: http.max_headers.as_usize(),
        body_timeout: http.body_timeout,
        allowed: RateLimit {
            per_second: f64::from(http.requests_per_second),
            burst: f64::from(http.burst),
        },
        compress_min_size: http.compress_min_size.bytes(),
        access_log: http.access_log,
        hsts: config.tls.hsts_max_age().and_then(|age| {
            // Without `includeSubDomains`: other hosts below this name may have no TLS.
            HeaderValue::try_from(format!("max-age={}", age.as_secs())).ok()
        }),
    }
}
