//! Builds packages of the program under test, as `make deb` does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use watchpost_tests::server::{program, tools};

/// Runs a command that must succeed.
pub(crate) fn did(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let output_text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        output_text.concat()
    );
}

/// A package of the program under test, built by the tool of `make deb`.
pub(crate) fn package(folder: &Path) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let release = folder.join("target/release");
    let packed = release.join("watchpost");
    fs::create_dir_all(&release).expect("made");
    strip(&packed);
    did(Command::new(root.join("deploy/debian/generate"))
        .arg(&packed)
        .arg(env!("CARGO_BIN_EXE_watchpost-sbom-under-test"))
        .arg(release.join("debian"))
        .current_dir(&root));
    let file = folder.join("first.deb");
    did(Command::new(tools().join("cargo-deb/bin/cargo-deb"))
        .args([
            "deb",
            "--package",
            "watchpost",
            "--no-build",
            "--no-strip",
            "--fast",
            "--offline",
            "--locked",
        ])
        .args(["--deb-version", "0.1.0-1"])
        .arg("--output")
        .arg(&file)
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .current_dir(&root));
    file
}

/// The program without debug information, which is most of its size here.
pub(crate) fn strip(to: &Path) {
    did(Command::new("strip").arg("-o").arg(to).arg(program()));
}

/// The same package with a later version.
pub(crate) fn later(package: &Path) -> PathBuf {
    let unpacked = package.with_extension("unpacked");
    did(Command::new("dpkg-deb")
        .arg("--raw-extract")
        .arg(package)
        .arg(&unpacked));
    let control = unpacked.join("DEBIAN/control");
    let text = fs::read_to_string(&control).expect("every package has one");
    fs::write(&control, text.replace("Version: 0.1.0-1\n", "Version: 0.1.0-2\n")).expect("written");
    let file = package.with_file_name("second.deb");
    did(Command::new("dpkg-deb")
        .args(["-Zgzip", "-z1", "--build"])
        .arg(&unpacked)
        .arg(&file));
    file
}
