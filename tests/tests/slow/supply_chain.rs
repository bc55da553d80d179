//! The scheduled check of the crates.

use std::path::Path;
use std::process::Command;

#[test]
fn if_the_database_of_advisories_cannot_be_fetched_nothing_counts_as_checked() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = tempfile::tempdir().expect("a folder");
    // git looks for the database at an address where there is none.
    let address = format!("url.file://{}/missing/.insteadOf", folder.path().display());
    let output = Command::new(root.join(".ci/advisories"))
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", address)
        .env("GIT_CONFIG_VALUE_0", "https://github.com/")
        .output()
        .expect("it starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(75), "{errors}");
    assert!(errors.contains("failed to fetch advisory database"), "{errors}");
    assert!(errors.contains("\nnot checked: "), "{errors}");
}
