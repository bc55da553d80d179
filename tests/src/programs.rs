//! Runs other programs and returns their output or their errors.

use std::process::Command;

use serde_json::Value;

use crate::server::tools;

/// The standard output of a program; all of its output if it fails.
pub fn output_of(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(format!(
        "{command:?} ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&said)
    ))
}

/// Parses a compose file with the reference implementation, which checks every key and value.
pub fn compose_project(text: &str) -> Result<Value, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("compose.yaml");
    std::fs::write(&file, text).expect("written");
    let reader =
        "import sys, compose_spec; print(compose_spec.PyCompose.from_yaml(open(sys.argv[1]).read()).to_json())";
    let mut python = Command::new(tools().join("deploy/bin/python3"));
    let json = output_of(python.args(["-c", reader]).arg(file))?;
    serde_json::from_str(&json).map_err(|error| error.to_string())
}
