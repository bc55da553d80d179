//! Other processes: many that start at once, and one that is killed wherever it happens to be. A process is this
//! program of tests, asked for one test, which finds in its environment that it is to work and not to watch.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use super::*;
use crate::pki::{PkiError, prepare};

/// In the environment of a process that works: the folder.
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
fn processes_that_start_at_once_have_one_authority() {
    if let Some(folder) = std::env::var_os(TEST_FOLDER_VARIABLE) {
        prepare(Path::new(&folder), "edge-1", now()).expect("prepared");
        return;
    }
    let data = tempfile::tempdir().expect("a folder");
    let folder = data.path().join("pki");
    let started: Vec<_> = (0..4)
        .map(|_| start("processes_that_start_at_once_have_one_authority", &folder))
        .collect();
    for process in started {
        assert!(process.wait_with_output().expect("it ends").status.success());
    }
    let authority = Authority::open(&folder).expect("readable").expect("there");
    assert_eq!(authority.list().expect("a list").len(), 5);
    assert_eq!(names_in(data.path()), ["pki"]);
}

#[test]
fn a_process_that_is_killed_leaves_a_folder_that_is_whole() {
    if let Some(folder) = std::env::var_os(TEST_FOLDER_VARIABLE) {
        work_until_killed(&folder);
    }
    for lines in 1..=12 {
        let data = tempfile::tempdir().expect("a folder");
        let folder = data.path().join("pki");
        let mut process = start("a_process_that_is_killed_leaves_a_folder_that_is_whole", &folder);
        // It does not wait for us to read, so it is somewhere behind the line that we read last.
        let said = BufReader::new(process.stdout.take().expect("piped")).lines();
        let heard = said.take(lines).filter_map(Result::ok).count();
        process.kill().expect("killed");
        process.wait().expect("it ended");
        assert_eq!(heard, lines, "it was at work");
        check_is_whole(data.path(), &folder);
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
            writeln!(out, "{name}").expect("heard");
        }
    }
}

fn check_is_whole(data: &Path, folder: &Path) {
    let authority = prepare(folder, "edge-1", now()).expect("prepared again");
    assert_eq!(names_in(data), ["pki"]);
    for part in [folder.to_owned(), folder.join("clients"), folder.join("issued")] {
        let unfinished: Vec<_> = names_in(&part)
            .into_iter()
            .filter(|name| name.starts_with('.'))
            .collect();
        assert!(unfinished.is_empty(), "{unfinished:?}");
    }
    assert!(
        !authority.refresh_crl(now()).expect("readable"),
        "the list says what is revoked"
    );
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
        let held = authority
            .client_files(name)
            .expect("files")
            .read()
            .expect("they belong together");
        let certificate = held.certificate.expect("a certificate");
        assert!(held.key.is_some());
        let said = verdict(
            &authority,
            &certificate,
            openssl::x509::X509PurposeId::SSL_CLIENT,
            now(),
        );
        assert_eq!(said, "ok", "{name}");
    }
}
