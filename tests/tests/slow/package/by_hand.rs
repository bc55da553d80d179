//! Installation without the package: the commands of `docs/DEPLOYMENT.md` on a new system.

use std::fs;
use std::path::Path;
use std::process::Command;

use watchpost_tests::document::{blocks, document};
use watchpost_tests::machine::Machine;

use super::json;
use super::making::{did, strip};

#[test]
fn by_hand_it_is_installed_as_the_document_says() {
    let machine = Machine::boot();
    let sources = machine.path("/root/watchpost");
    let built = sources.join("target/release");
    fs::create_dir_all(&built).expect("made");
    strip(&built.join("watchpost"));
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    did(Command::new("cp").arg("-r").arg(deploy).arg(&sources));

    for block in blocks(&document("DEPLOYMENT.md"), "systemd service", "sh") {
        machine.says(&["sh", "-euc", &format!("cd /root/watchpost\n{block}")]);
    }
    assert_eq!(machine.property("watchpost", "ActiveState"), "active");
    assert_eq!(machine.property("watchpost", "User"), "watchpost");
    assert_eq!(json(&machine, "/api/v1/whoami")["identity"]["kind"], "certificate");
    let issued = machine.path("/var/lib/watchpost/pki/clients/alice.crt");
    assert!(
        issued.exists(),
        "a command that looks there was run as the service's user"
    );
}
