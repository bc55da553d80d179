//! The environment variables of PixCrawler's resource monitor: when they are imported, what they set, and what
//! overrides them.

use std::time::Duration;

use serde_json::json;

use super::Case;
use crate::collect::Mode;

const PIXCRAWLER_LISTENER: &str = "[[listeners]]\naddress = \"127.0.0.1:8000\"\ntls = false\napi = \"pixcrawler\"\n";

#[test]
fn the_documented_names_are_always_read() {
    let config = Case::new()
        .dotenv("PIXCRAWLER_MODE=azure\nPIXCRAWLER_POLL_INTERVAL_SECONDS=60\nPIXCRAWLER_MAX_WORKERS=5\n")
        .environment([
            ("PIXCRAWLER_POLL_INTERVAL_SECONDS", " 30 "),
            ("pixcrawler_memory_threshold_warn", "70.5"),
            (
                "PIXCRAWLER_DB_URL",
                "postgresql+asyncpg://pix:hunter2@db:5432/pixcrawler",
            ),
            ("PIXCRAWLER_RESOURCE_MAX_CONCURRENT_CHUNKS", "35"),
        ])
        .load();
    assert_eq!(config.mode, Mode::Azure);
    assert_eq!(config.collector.interval, Duration::from_secs(30));
    assert_eq!(config.chunks.interval, Duration::from_secs(30));
    assert!(config.chunks.database_url.is_some());
    assert_eq!(
        config.rules.threshold["thresholds"][1],
        json!({"metric": "memory", "warning": 70.5, "alert": 90.0, "missing": "unknown"})
    );
    let shown = config.show();
    for line in [
        "interval = \"30s\"  # environment PIXCRAWLER_POLL_INTERVAL_SECONDS",
        "database_url = \"********\"  # environment PIXCRAWLER_DB_URL",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}\nis not in\n{shown}");
    }
    assert!(shown.contains(".env PIXCRAWLER_MODE"), "{shown}");
    assert!(
        shown.contains("# environment pixcrawler_memory_threshold_warn"),
        "{shown}"
    );
    assert!(!shown.contains("hunter2") && !format!("{config:?}").contains("hunter2"));
}

#[test]
fn bare_names_are_read_where_an_operator_enables_the_monitor() {
    let bare = || {
        Case::new().dotenv("DB_URL=sqlite:local.db\n").environment([
            ("MODE", "azure"),
            ("poll_interval_seconds", "7"),
            ("DATABASE_URL", "what?"),
        ])
    };
    let untouched = bare().load();
    assert_eq!(untouched.mode, Mode::Local);
    assert_eq!(untouched.collector.interval, Duration::from_secs(10));
    for case in [
        bare().toml(PIXCRAWLER_LISTENER),
        bare().flag("pixcrawler.environment", "true"),
        bare().toml("[pixcrawler]\nenvironment = true\n"),
    ] {
        let config = case.load();
        assert_eq!(config.mode, Mode::Azure);
        assert_eq!(config.collector.interval, Duration::from_secs(7));
        // Of two names for one setting, the monitor's own takes precedence.
        assert!(
            config.origins["chunks.database_url"]
                .to_string()
                .ends_with(".env DB_URL")
        );
    }
    let refused = bare().toml(&format!("{PIXCRAWLER_LISTENER}[pixcrawler]\nenvironment = false\n"));
    assert_eq!(refused.load().mode, Mode::Local);
}

#[test]
fn watchpost_settings_override_them_and_prefixed_names_override_bare_ones() {
    let case = || {
        Case::new()
            .dotenv("PIXCRAWLER_MODE=local\nPIXCRAWLER_POLL_INTERVAL_SECONDS=20\n")
            .environment([
                ("MODE", "azure"),
                ("POLL_INTERVAL_SECONDS", "lots"),
                ("DISK_THRESHOLD_WARN", "much"),
                ("WATCHPOST_COLLECTOR__INTERVAL", "3s"),
            ])
    };
    let config = case()
        .toml(&format!(
            "{PIXCRAWLER_LISTENER}[chunks]\ninterval = \"4s\"\n[rules.threshold]\nthresholds = []\n"
        ))
        .load();
    assert_eq!(config.mode, Mode::Local);
    assert_eq!(config.collector.interval, Duration::from_secs(3));
    assert_eq!(config.chunks.interval, Duration::from_secs(4));
    assert_eq!(config.rules.threshold["thresholds"], json!([]));
    let flagged = case()
        .toml("[rules.threshold]\n")
        .flag("mode", "azure")
        .flag("collector.interval", "5s")
        .load();
    assert_eq!(flagged.mode, Mode::Azure);
    assert_eq!(flagged.collector.interval, Duration::from_secs(5));
    assert_eq!(flagged.chunks.interval, Duration::from_secs(20));
}

#[test]
fn the_environment_overrides_the_dotenv_file_and_empty_variables_are_ignored() {
    let config = Case::new()
        .toml(PIXCRAWLER_LISTENER)
        .dotenv("MODE=azure\nPOLL_INTERVAL_SECONDS=20\nCHUNK_THRESHOLD_WARN=1\nCHUNK_THRESHOLD_ALERT=2\n")
        .environment([
            ("MODE", ""),
            ("Poll_Interval_Seconds", "40"),
            ("POLL_INTERVAL_SECONDS", "30"),
            ("CHUNK_THRESHOLD_ALERT", "3"),
        ])
        .load();
    assert_eq!(config.mode, Mode::Azure);
    assert_eq!(config.collector.interval, Duration::from_secs(30));
    assert_eq!(
        config.rules.threshold["thresholds"][2],
        json!({"metric": "active_chunks", "warning": 1.0, "alert": 3.0, "missing": "optional"})
    );
    let origin = config.origins["rules.threshold"].to_string();
    assert!(
        origin.contains(".env CHUNK_THRESHOLD_WARN, environment CHUNK_THRESHOLD_ALERT"),
        "{origin}"
    );
}

#[test]
fn an_invalid_value_is_reported_with_its_variable() {
    let check = |variables: [(&str, &str); 2], expected: &str| {
        let error = Case::new().toml(PIXCRAWLER_LISTENER).environment(variables).error();
        assert_eq!(error, expected);
    };
    check(
        [("MODE", "cloud"), ("HOME", "")],
        "environment MODE: mode: \"cloud\" was given; write \"local\" or \"azure\"",
    );
    check(
        [("POLL_INTERVAL_SECONDS", "a minute"), ("HOME", "")],
        "environment POLL_INTERVAL_SECONDS: collector.interval: \"a minute\" was given; write an integer number of \
         seconds, such as 60",
    );
    check(
        [("DISK_THRESHOLD_WARN", "nan"), ("HOME", "")],
        "environment DISK_THRESHOLD_WARN: rules.threshold: \"nan\" was given; write a number, such as 80",
    );
    check(
        [("CHUNK_THRESHOLD_ALERT", "40.5"), ("HOME", "")],
        "environment CHUNK_THRESHOLD_ALERT: rules.threshold: \"40.5\" was given; write an integer, such as 40",
    );
    check(
        [("MEMORY_THRESHOLD_WARN", "95"), ("MEMORY_THRESHOLD_ALERT", "85.5")],
        "environment MEMORY_THRESHOLD_WARN: rules.threshold: MEMORY_THRESHOLD_WARN is 95 and MEMORY_THRESHOLD_ALERT \
         is 85.5; set the warning level to at most the alert level",
    );
    let error = Case::new()
        .environment([("PIXCRAWLER_DISK_THRESHOLD_ALERT", "50")])
        .error();
    assert!(
        error.contains("PIXCRAWLER_DISK_THRESHOLD_WARN is 80 by default and PIXCRAWLER_DISK_THRESHOLD_ALERT is 50;"),
        "{error}"
    );
    let rare = Case::new().environment([("PIXCRAWLER_POLL_INTERVAL_SECONDS", "7200")]);
    assert_eq!(
        rare.errors()[0],
        "environment PIXCRAWLER_POLL_INTERVAL_SECONDS: collector.interval: \"7200s\" was given; write a value from \
         100ms to 1h"
    );
    let secret = Case::new().environment([("PIXCRAWLER_DB_URL", "hunter2")]).error();
    assert!(
        secret.starts_with("environment PIXCRAWLER_DB_URL: chunks.database_url: ") && !secret.contains("hunter2"),
        "{secret}"
    );
}

#[cfg(unix)]
#[test]
fn an_unrelated_variable_may_contain_any_bytes() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    let mut case = Case::new();
    case.sources.environment = [("MODE", OsString::from_vec(vec![0xff]))].into_iter().collect();
    assert_eq!(case.load().mode, Mode::Local);
}

#[test]
fn the_azure_resource_is_imported_and_the_secret_is_masked() {
    let id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Web/serverfarms/plan-1";
    let config = Case::new()
        .toml(PIXCRAWLER_LISTENER)
        .environment([
            ("PIXCRAWLER_MODE", "azure"),
            ("PIXCRAWLER_AZURE_RESOURCE_ID", id),
            ("AZURE_METRIC_NAMES", r#"["MemoryPercentage", "CpuPercentage"]"#),
            ("AZURE_TENANT_ID", "t"),
            ("AZURE_CLIENT_ID", "c"),
            ("AZURE_CLIENT_SECRET", "hunter2"),
        ])
        .load();
    assert_eq!(config.azure.resources[0].id.as_str(), id);
    assert_eq!(config.azure.metrics[0].metric.as_str(), "azure_cpu_percentage");
    assert_eq!(config.azure.credentials.tenant_id.as_deref(), Some("t"));
    assert_eq!(config.azure.credentials.client_id.as_deref(), Some("c"));
    let secret = config.azure.credentials.client_secret.as_ref();
    assert_eq!(secret.map(|secret| secret.expose().as_str()), Some("hunter2"));
    assert!(!config.show().contains("hunter2"), "{}", config.show());
}

/// The file that the monitor's documentation prints, with its placeholders.
const DOCUMENTED_DOTENV: &str = "# Core
PIXCRAWLER_MODE=local                  # local or azure
PIXCRAWLER_POLL_INTERVAL_SECONDS=60    # seconds

# Database
PIXCRAWLER_DB_URL=postgresql+asyncpg://user:pass@localhost:5432/pixcrawler

# Azure
AZURE_CLIENT_ID=...
AZURE_CLIENT_SECRET=...
AZURE_TENANT_ID=...
PIXCRAWLER_AZURE_RESOURCE_ID=/subscriptions/.../resourceGroups/.../providers/...
";

#[test]
fn in_local_mode_the_azure_variables_are_ignored() {
    for toml in ["", PIXCRAWLER_LISTENER] {
        let config = Case::new().toml(toml).dotenv(DOCUMENTED_DOTENV).load();
        assert_eq!(config.mode, Mode::Local);
        assert_eq!(config.collector.interval, Duration::from_secs(60));
        assert!(config.azure.resources.is_empty());
        assert!(config.azure.credentials.client_secret.is_none());
        assert!(config.chunks.database_url.is_some());
    }
    // Without MODE, the mode is local too.
    let unset = Case::new()
        .dotenv("PIXCRAWLER_AZURE_RESOURCE_ID=...\nPIXCRAWLER_AZURE_METRIC_NAMES=...\n")
        .load();
    assert!(unset.azure.resources.is_empty() && unset.azure.metrics.is_empty());
}

#[test]
fn in_azure_mode_a_placeholder_is_an_error() {
    let azure = DOCUMENTED_DOTENV.replace("MODE=local", "MODE=azure");
    let error = Case::new().dotenv(&azure).error();
    assert!(
        error.starts_with(".env PIXCRAWLER_AZURE_RESOURCE_ID: azure.resources[0].id: "),
        "{error}"
    );
    // Watchpost's own setting of the mode takes precedence.
    let overridden = Case::new().dotenv(&azure).flag("mode", "local").load();
    assert!(overridden.azure.resources.is_empty());
}
