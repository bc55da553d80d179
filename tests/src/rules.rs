//! Helpers for rules over the API: upload, activate, and read the result.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::http::{Answer, Client};
use crate::server::{eventually, program};

/// Uploads a component.
pub fn upload(client: &Client, wasm: &[u8]) -> Answer {
    client.send_bytes("POST", "/api/v1/rules", "application/wasm", wasm)
}

/// The result of an upload, successful or not; waits for a pending compilation.
pub fn settled(client: &Client, answer: Answer) -> Answer {
    if answer.status != 202 {
        return answer;
    }
    let place = answer.header("location").expect("a place to look");
    eventually("an upload", || Some(client.get(place)).filter(|now| now.status != 202))
}

/// Uploads a component that must be accepted; returns its name and its digest.
pub fn uploaded(client: &Client, wasm: &[u8]) -> (String, String) {
    let answer = settled(client, upload(client, wasm));
    assert!([200, 201].contains(&answer.status), "{}", answer.text());
    let body = answer.json();
    let text = |key: &str| body[key].as_str().expect("a text").to_owned();
    (text("name"), text("digest"))
}

/// Activates a version with these further fields of the request.
pub fn activate(client: &Client, name: &str, digest: &str, mut more: Value) -> Answer {
    more["digest"] = json!(digest);
    client.send("PUT", &format!("/api/v1/rules/{name}/active"), &more)
}

/// The number of the active generation.
pub fn generation(client: &Client) -> i64 {
    let overview = client.get("/api/v1/rules");
    assert_eq!(overview.status, 200, "{}", overview.text());
    overview.json()["generation"].as_i64().expect("a number")
}

/// The rules in use, as `name mode digest` with short digests.
pub fn active(body: &Value) -> Vec<String> {
    let lines = body["active"].as_array().expect("a list").iter();
    let text = |line: &Value, key: &str| line[key].as_str().expect("a text").to_owned();
    lines
        .map(|line| {
            format!(
                "{} {} {}",
                text(line, "name"),
                text(line, "mode"),
                &text(line, "digest")[..8]
            )
        })
        .collect()
}

/// The same rule with another digest: an unused custom section is appended.
pub fn other_version(wasm: &[u8]) -> Vec<u8> {
    numbered_version(wasm, 0)
}

/// This number of versions of the same rule.
pub fn versions(wasm: &[u8], count: usize) -> Vec<Vec<u8>> {
    (1..=count).map(|number| numbered_version(wasm, number)).collect()
}

/// Two versions of the same rule whose digests have the same first eight digits, found by trial.
pub fn two_alike(wasm: &[u8]) -> [Vec<u8>; 2] {
    let mut whole = openssl::sha::Sha256::new();
    whole.update(wasm);
    let mut seen = std::collections::HashMap::new();
    for number in 0.. {
        let mut digest = whole.clone();
        digest.update(&numbered_version(&[], number));
        let [a, b, c, d, ..] = digest.finish();
        if let Some(other) = seen.insert([a, b, c, d], number) {
            return [other, number].map(|number| numbered_version(wasm, number));
        }
    }
    unreachable!("there are only so many beginnings")
}

fn numbered_version(wasm: &[u8], number: usize) -> Vec<u8> {
    let mut other = wasm.to_vec();
    let content = format!("note{number:04}");
    other.extend([0, u8::try_from(content.len() + 1).expect("short"), 4]);
    other.extend(content.bytes());
    other
}

/// Compresses with gzip.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut child = std::process::Command::new("gzip")
        .arg("-c")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("gzip runs");
    let mut stdin = child.stdin.take().expect("it is piped");
    let bytes = bytes.to_vec();
    let writing = std::thread::spawn(move || stdin.write_all(&bytes));
    let output = child.wait_with_output().expect("it ends");
    writing.join().expect("no panic").expect("written");
    output.stdout
}

/// Uploads a component by a form with these fields, and waits for the result.
pub fn form(client: &Client, fields: &[(&str, Vec<u8>)]) -> Answer {
    let mut body = Vec::new();
    for (name, bytes) in fields {
        body.extend(format!("--x-y-z\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n").bytes());
        body.extend(bytes);
        body.extend(b"\r\n");
    }
    body.extend(b"--x-y-z--\r\n");
    let form = client.clone().with("x-requested-with", "test");
    let answer = form.send_bytes("POST", "/api/v1/rules", "multipart/form-data; boundary=x-y-z", &body);
    settled(client, answer)
}

/// Generates NAME.key and NAME.pub in a folder with `watchpost rules keygen`.
pub fn keygen(folder: &Path, name: &str) {
    let done = Command::new(program())
        .args(["rules", "keygen", "--out", name])
        .current_dir(folder)
        .output()
        .expect("watchpost runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// Signs a component with `watchpost rules sign`; returns the content of the signature file.
pub fn sign(key: &Path, wasm: &[u8]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("rule.wasm"), wasm).expect("written");
    let done = Command::new(program())
        .args(["rules", "sign", "rule.wasm", "--key"])
        .arg(key)
        .current_dir(folder.path())
        .output()
        .expect("watchpost runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    std::fs::read_to_string(folder.path().join("rule.wasm.sig")).expect("a signature")
}
