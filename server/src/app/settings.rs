//! From the configuration to what each part is told. A reload asks for the same again.

use std::path::PathBuf;

use crate::api::door::Known;
use crate::api::gate::Bounds;
use crate::api::rate::Allowed;
use crate::collect::Mode;
use crate::collect::host::HostOptions;
use crate::config::{self, Config};
use crate::decisions;
use crate::rules::Settings;
use crate::rules::registry::Options;
use crate::{telemetry, tls};

/// Where nothing is named, the development authority's files serve.
pub(crate) fn tls_options(config: &Config) -> tls::Options {
    let pki = config.server.data_dir.join("pki");
    let or = |given: &Option<PathBuf>, made: &str| given.clone().unwrap_or_else(|| pki.join(made));
    // Written out or left out, the authority's own clients are those that its own list takes back.
    let own_clients = or(&config.tls.client_ca, "ca.crt") == pki.join("ca.crt");
    tls::Options {
        files: tls::Files {
            certificate: or(&config.tls.certificate, "server.crt"),
            key: or(&config.tls.key, "server.key"),
            client_ca: or(&config.tls.client_ca, "ca.crt"),
            crl: config
                .tls
                .crl
                .clone()
                .or_else(|| own_clients.then(|| pki.join("crl.pem"))),
        },
        only_1_3: config.tls.min_version == config::TlsVersion::Tls13,
        proxy_certificates: config.tls.proxy_certificates,
        resumption: config.tls.resumption,
        http2: config.tls.http2,
    }
}

/// Whether anything is left for the development authority to provide.
pub(crate) fn needs_authority(config: &Config) -> bool {
    config.tls.certificate.is_none() || config.tls.client_ca.is_none()
}

/// The settings of the built-in rules, as those read them.
pub(crate) fn rule_settings(config: &Config) -> Settings {
    let json =
        |table: &serde_json::Map<String, serde_json::Value>| serde_json::Value::Object(table.clone()).to_string();
    Settings {
        threshold: json(&config.rules.threshold),
        role: json(&config.rules.role),
    }
}

/// What the configuration says of rules, for those who change them.
pub(crate) fn rule_options(config: &Config) -> Options {
    Options {
        configured: rule_settings(config),
        break_glass: config.rules.break_glass.clone(),
        faults_in_a_row: config.rules.faults_in_a_row,
        provenance: config.rules.provenance(),
    }
}

/// What is recorded of decisions.
pub(super) fn decision_options(config: &Config) -> decisions::Options {
    let given = config.decisions.clone();
    decisions::Options {
        enabled: given.enabled,
        allowed: given.allowed,
        judgements: given.judgements,
        mask: given.mask,
        keep: given.keep,
        most: given.most,
        queue: given.queue,
        when_full: given.when_full,
        log: given.log,
    }
}

pub(crate) fn log_options(config: &Config) -> telemetry::LogOptions {
    let log = &config.log;
    telemetry::LogOptions {
        level: log.level.as_str().to_owned(),
        format: match log.format {
            config::LogFormat::Text => telemetry::LogFormat::Text,
            config::LogFormat::Json => telemetry::LogFormat::Json,
        },
        file: log.file.clone(),
        max_size: log.max_size.bytes(),
        keep: log.keep,
    }
}

pub(crate) fn known(config: &Config) -> Known {
    Known {
        trusted_proxies: config.http.trusted_proxies.clone(),
        tokens: config.tokens.clone(),
    }
}

/// Settings, a note, and what a form puts around them.
const BESIDE_A_COMPONENT: u64 = 4 * 1024 * 1024;

pub(crate) fn bounds(config: &Config) -> Bounds {
    let http = &config.http;
    Bounds {
        max_body: http.max_body.bytes(),
        max_upload: config.rules.limits.component_bytes.bytes() + BESIDE_A_COMPONENT,
        max_headers: http.max_headers.as_usize(),
        body_timeout: http.body_timeout,
        allowed: Allowed {
            per_second: f64::from(http.requests_per_second),
            burst: f64::from(http.burst),
        },
        compress_from: http.compress_from.bytes(),
        access_log: http.access_log,
    }
}

pub(super) fn host_options(config: &Config) -> HostOptions {
    let host = config.host.clone();
    HostOptions {
        procfs: host.procfs,
        sysfs: host.sysfs,
        rootfs: host.rootfs,
        mount_timeout: host.mount_timeout,
        exclude_mounts: host.exclude_mounts,
        exclude_types: host.exclude_types,
        exclude_disks: host.exclude_disks,
        exclude_interfaces: host.exclude_interfaces,
        measured_elsewhere: match config.mode {
            Mode::Local => &[],
            Mode::Azure => &OF_AZURE,
        },
    }
}

/// What Azure tells of its resources under the same names, and `inodes`, which belong to the disks: a rule that judges
/// the one shall not judge the other.
const OF_AZURE: [&str; 3] = ["disk", "inodes", "memory"];
