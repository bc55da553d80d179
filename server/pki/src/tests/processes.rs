//! Tests with other processes: concurrent starts, and kills at arbitrary points. A process is this test program,
//! started with a single test, which finds in its environment that it is the worker.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use super::*;
use crate::{PkiError, prepare};

/// The environment variable of a worker, with the folder.
const TEST_FOLDER_VARIABLE: &str = "WATCHPOST_TEST_PKI";

const NAMES: [&str; 3] = ["ada", "bob", "eve"];

fn start(test: &str, folder: &Path) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "--nocapture"])
        .arg(format!(
            "{}::{test}",
            module_path!().split_once("::").expect("a crate").1
        ))
        .env(TEST_FOLDER_VARIABLE, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("started")
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("readable");
    entries
        .map(|entry| entry.expect("one").file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn concurrent_processes_share_one_authority() {
    if let Some(folder) = std::env::var_os(TEST_FOLDER_VARIABLE) {
        prepare(Path::new(&folder), "edge-1", now()).expect("prepared");
        return;
    }
    let data = tempfile::tempdir().expect("a folder");
    let folder = data.path().join("pki");
    let started: Vec<_> = (0..4)
        .map(|_| start("concurrent_processes_share_one_authority", &folder))
        .collect();
    for process in started {
        assert!(process.wait_with_output().expect("it ends").status.success());
    }
    let authority = Authority::open(&folder).expect("readable").expect("there");
    assert_eq!(authority.list().expect("a list").len(), 5);
    assert_eq!(names_in(data.path()), ["pki"]);
}

#[test]
fn a_killed_process_leaves_a_consistent_folder() {
    if let Some(folder) = std::env::var_os(TEST_FOLDER_VARIABLE) {
        work_until_killed(&folder);
    }
    for lines in 1..=12 {
        let data = tempfile::tempdir().expect("a folder");
        let folder = data.path().join("pki");
        let mut process = start("a_killed_process_leaves_a_consistent_folder", &folder);
        // The worker does not wait for this process to read, so it is somewhere after the last line that was read.
        let output = BufReader::new(process.stdout.take().expect("piped")).lines();
        let received = output.take(lines).filter_map(Result::ok).count();
        process.kill().expect("killed");
        process.wait().expect("it ended");
        assert_eq!(received, lines, "it was at work");
        check_is_consistent(data.path(), &folder);
    }
}

fn work_until_killed(folder: &OsStr) {
    let mut out = std::io::stdout();
    let authority = prepare(Path::new(folder), "edge-1", now()).expect("prepared");
    loop {
        for name in NAMES {
            match authority.issue_client(name, "reader", 30, now()) {
                Ok(_) => {}
                Err(PkiError::InUse { .. }) => {
                    authority.revoke(name, now()).expect("revoked");
                }
                Err(error) => panic!("{error}"),
            }
            writeln!(out, "{name}").expect("written");
        }
    }
}

fn check_is_consistent(data: &Path, folder: &Path) {
    let authority = prepare(folder, "edge-1", now()).expect("prepared again");
    assert_eq!(names_in(data), ["pki"]);
    for part in [folder.to_owned(), folder.join("clients"), folder.join("issued")] {
        let unfinished: Vec<_> = names_in(&part)
            .into_iter()
            .filter(|name| name.starts_with('.'))
            .collect();
        assert!(unfinished.is_empty(), "{unfinished:?}");
    }
    assert!(!authority.refresh_crl(now()).expect("readable"), "the list is current");
    for name in NAMES {
        let was_in_use = authority
            .list()
            .expect("a list")
            .iter()
            .any(|issued| issued.name == name && issued.holds(now()));
        let issued = authority.issue_client(name, "reader", 30, now());
        assert_eq!(
            matches!(issued, Err(PkiError::InUse { .. })),
            was_in_use,
            "{name}: {issued:?}"
        );
        let pair = authority.client_files(name).expect("files").read().expect("they match");
        let certificate = pair.certificate.expect("a certificate");
        assert!(pair.key.is_some());
        let result = verdict(
            &authority,
            &certificate,
            openssl::x509::X509PurposeId::SSL_CLIENT,
            now(),
        );
        assert_eq!(result, "ok", "{name}");
    }
}
