//! Text files with metrics of other programs: on the page for Prometheus, in reports, and when they are invalid.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use watchpost_tests::document::{blocks, document};
use watchpost_tests::programs::output_of;
use watchpost_tests::server::{Server, eventually};

const SETTINGS: &str = "
[collector]
interval = \"100ms\"
textfile_dir = \"{folder}/text\"

[rules.threshold]
thresholds = [{ metric = \"backup_age_seconds\", warning = 100, alert = 1000 }]
";

/// A server and the directory of its text files.
fn served() -> (Server, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let directory = folder.path().join("text");
    fs::create_dir(&directory).expect("made");
    (Server::in_folder(folder, SETTINGS).ready(), directory)
}

/// Replaces a file as the documents say: a reader sees the old content or the new one.
fn replace(directory: &Path, name: &str, text: &str) {
    let new = directory.join(format!("{name}.new"));
    fs::write(&new, text).expect("written");
    fs::rename(new, directory.join(name)).expect("renamed");
}

fn shows(server: &Server, line: &str) {
    eventually(line, || server.get("/metrics").text().contains(line).then_some(()));
}

/// Waits until the age of the backup has this severity.
fn judges(server: &Server, severity: &str) {
    eventually(severity, || {
        let report = server.get("/api/v1/report").json();
        let findings = report["findings"].as_array().cloned().unwrap_or_default();
        let is_it =
            |finding: &Value| finding["subject"]["metric"] == "backup_age_seconds" && finding["severity"] == severity;
        findings.iter().any(is_it).then_some(())
    });
}

#[test]
fn a_text_file_is_exported_under_its_own_names_with_its_types_and_help_texts() {
    let (server, directory) = served();
    shows(&server, "\nnode_textfile_scrape_error 0\n");
    replace(
        &directory,
        "backup.prom",
        "# HELP backup_age_seconds Age of the last backup.\n# TYPE backup_age_seconds gauge\n\
         backup_age_seconds{volume=\"home\"} 500\nbackup_runs_total 7\n",
    );
    shows(
        &server,
        "# HELP backup_age_seconds Age of the last backup.\n# TYPE backup_age_seconds gauge\n\
         backup_age_seconds{volume=\"home\"} 500\n",
    );
    shows(&server, "\n# TYPE backup_runs_total untyped\nbackup_runs_total 7\n");
    shows(&server, "backup.prom\"} ");
    replace(&directory, "backup.prom", "backup_age_seconds{volume=\"home\"} 501\n");
    shows(&server, "\nbackup_age_seconds{volume=\"home\"} 501\n");
}

#[test]
fn the_documented_commands_publish_a_metric_that_the_documented_threshold_judges() {
    let deployment = document("DEPLOYMENT.md");
    let block = |language: &str| blocks(&deployment, "Text files", language).concat();
    let folder = tempfile::tempdir().expect("a folder");
    let directory = folder.path().join("text");
    fs::create_dir(&directory).expect("made");
    let shown = block("toml").replace("/var/lib/watchpost-textfile", &directory.display().to_string());
    let server = Server::in_folder(folder, &shown).ready();
    let mut shell = Command::new("sh");
    shell.args(["-euc", &block("sh")]).env("TEXTFILE_DIR", &directory);
    output_of(&mut shell).expect("the document's commands are good");
    shows(&server, "# HELP backup_age_seconds Age of the last backup.\n");
    shows(&server, "\nbackup_age_seconds 3600\n");
    judges(&server, "ok");
}

#[test]
fn an_invalid_text_file_is_reported_and_its_thresholds_are_unknown() {
    let (server, directory) = served();
    let severity = |expected: &str| judges(&server, expected);
    replace(&directory, "backup.prom", "backup_age_seconds 500\n");
    replace(&directory, "other.prom", "others 1\n");
    severity("warning");
    replace(&directory, "backup.prom", "backup_age_seconds 500 and more\n");
    shows(&server, "\nnode_textfile_scrape_error 1\n");
    shows(&server, "\nothers 1\n");
    severity("unknown");
    let line = server.logged("a text file with metrics is invalid");
    assert!(line.contains("backup.prom") && line.contains("line 1"), "{line}");
    replace(&directory, "backup.prom", "backup_age_seconds 5000\n");
    severity("alert");
    server.logged("a text file with metrics is valid again");
    replace(&directory, "backup.prom", "cpu 1\n");
    shows(&server, "\nnode_textfile_scrape_error 1\n");
    assert!(server.logged("use another name").contains("reserves cpu"));
}
