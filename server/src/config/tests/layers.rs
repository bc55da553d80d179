//! The precedence of the layers, and how each is parsed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::Case;
use crate::config::TlsVersion;
use crate::telemetry::LogFormat;
use crate::tls::ClientAuth;

#[test]
fn every_setting_has_a_default() {
    let config = Case::new().load();
    assert_eq!(config.server.drain_timeout, Duration::from_secs(30));
    assert_eq!(config.server.workers, None);
    let listeners: Vec<_> = config
        .listeners
        .iter()
        .map(|l| (l.address, l.tls, l.client_auth))
        .collect();
    assert_eq!(
        listeners,
        [
            (address("127.0.0.1:8443"), true, ClientAuth::Optional),
            (address("127.0.0.1:8080"), false, ClientAuth::Off),
        ]
    );
    assert_eq!(config.http.max_body.bytes(), 1 << 20);
    assert_eq!(config.tls.min_version, TlsVersion::Tls12);
    assert!(config.tokens.is_empty() && config.rules.threshold.is_empty());
    assert_eq!(config.rules.limits.limits(), watchpost_policies::Limits::default());
    assert!(
        !config.host.exclude_types.contains(&"tmpfs".to_owned()),
        "a tmpfs can fill up"
    );
}

#[test]
fn each_layer_overrides_the_one_below() {
    let file = "[log]\nlevel = \"warn\"\nmax_files = 7\nmax_size = \"1MiB\"\nformat = \"json\"\n";
    let case = Case::new()
        .toml(file)
        .dotenv("WATCHPOST_LOG__MAX_FILES=8\nWATCHPOST_LOG__MAX_SIZE=2MiB\nWATCHPOST_LOG__LEVEL=error\nOTHER=1\n")
        .environment([
            ("WATCHPOST_LOG__MAX_SIZE", "3MiB"),
            ("WATCHPOST_LOG__LEVEL", "debug"),
            ("HOME", "/root"),
        ])
        .flag("log.level", "trace");
    let log = case.load().log;
    assert_eq!(log.format, LogFormat::Json, "the file");
    assert_eq!(log.max_files, 8, "the .env file");
    assert_eq!(log.max_size.bytes(), 3 << 20, "the environment");
    assert_eq!(log.level.as_str(), "trace", "the flag");
    assert_eq!(log.file, None, "the default");
}

#[test]
fn a_dotenv_file_next_to_the_configuration_overrides_that_of_the_working_directory() {
    let next_to_file = Case::new().toml("").dotenv("WATCHPOST_LOG__MAX_FILES=8\n");
    let mut case = Case::new().dotenv("WATCHPOST_LOG__MAX_FILES=9\n");
    assert_eq!(case.load().log.max_files, 9);
    case.sources.file = next_to_file.sources.file.clone();
    assert_eq!(case.load().log.max_files, 8);
}

#[test]
fn a_variable_is_parsed_by_its_setting() {
    let config = Case::new()
        .toml("[server]\nhostname = \"edge\"\nworkers = 3\n[host]\nexclude_disks = [\"x\"]\n")
        .environment([
            ("WATCHPOST_SERVER__HOSTNAME", ""),
            ("WATCHPOST_SERVER__WORKERS", "2"),
            ("WATCHPOST_TLS__RESUMPTION", "false"),
            ("WATCHPOST_TLS__MIN_VERSION", "1.3"),
            ("WATCHPOST_HTTP__TRUSTED_PROXIES", "10.0.0.0/8, ::1"),
            ("WATCHPOST_HTTP__COMPRESS_MIN_SIZE", "1000"),
            ("WATCHPOST_HOST__EXCLUDE_DISKS", ""),
            ("WATCHPOST_HOST__EXCLUDE_INTERFACES", r#"["lo", "a,b"]"#),
            (
                "WATCHPOST_LISTENERS",
                r#"[{"address": "[::1]:0", "client_auth": "off"}]"#,
            ),
            ("WATCHPOST_LOG__LEVEL", "info,watchpost=debug"),
            ("WATCHPOST_RULES__THRESHOLD", r#"{"a": {"b": null}}"#),
            ("WATCHPOST_RULES__LIMITS__JUDGE_MS", "77"),
            ("WATCHPOST_PORT_8443_TCP", "tcp://10.0.0.1:8443"),
        ])
        .load();
    assert_eq!((config.server.hostname.clone(), config.server.workers), (None, Some(2)));
    assert!(!config.tls.resumption);
    assert_eq!(config.tls.min_version, TlsVersion::Tls13);
    assert_eq!(config.http.trusted_proxies.len(), 2);
    assert_eq!(config.http.compress_min_size.bytes(), 1000);
    assert!(config.host.exclude_disks.is_empty());
    assert_eq!(config.host.exclude_interfaces, ["lo", "a,b"]);
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.log.level.as_str(), "info,watchpost=debug");
    assert_eq!(config.rules.threshold.get("a"), Some(&json!({"b": null})));
    assert_eq!(config.rules.limits.limits().judge_ms, 77);
}

#[test]
fn toml_and_yaml_are_equivalent() {
    let toml = Case::new().toml(
        "[tls]\nmin_version = \"1.3\"\n[[listeners]]\naddress = \"127.0.0.1:0\"\nclient_auth = \"off\"\n\
         [[tokens]]\nname = \"a\"\nsha256 = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"\n\
         expires = 2030-01-31\n",
    );
    let yaml = Case::new().file(
        "watchpost.yml",
        "server:\ntls:\n  min_version: 1.3\nlisteners:\n- address: 127.0.0.1:0\n  client_auth: off\n\
         tokens:\n- name: a\n  sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\n  \
         expires: 2030-01-31\n",
    );
    assert_eq!(
        toml.load().differences(&yaml.load()),
        ["server.data_dir"].map(str::to_owned)
    );
    assert_eq!(toml.load().listeners[0].client_auth, ClientAuth::Off);
}

#[test]
fn a_relative_path_begins_where_it_is_set() {
    let working_directory = PathBuf::from("/working");
    let mut case = Case::new()
        .toml("[tls]\ncertificate = \"a/cert.pem\"\nkey = \"/etc/key.pem\"\n")
        .environment([("WATCHPOST_TLS__CLIENT_CA", "ca.pem")]);
    case.sources.working_directory = working_directory.clone();
    let config = case.load();
    assert_eq!(config.tls.certificate, Some(case.folder.path().join("a/cert.pem")));
    assert_eq!(config.tls.key.as_deref(), Some(Path::new("/etc/key.pem")));
    assert_eq!(config.tls.client_ca, Some(working_directory.join("ca.pem")));
    assert_eq!(config.server.data_dir, working_directory.join("./watchpost-data"));
}

#[test]
fn a_file_of_comments_sets_nothing() {
    for name in ["watchpost.toml", "watchpost.yaml"] {
        Case::new().file(name, "# nothing\n").load();
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}
