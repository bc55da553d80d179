//! What tests do with rules over the API: bring them, put them in force, and look at what came of it.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::http::{Answer, Client};
use crate::server::{eventually, program};

/// Brings a component.
pub fn upload(client: &Client, wasm: &[u8]) -> Answer {
    client.send_bytes("POST", "/api/v1/rules", "application/wasm", wasm)
}

/// What came of an upload, whatever that is. One that takes long to compile is waited for.
pub fn settled(client: &Client, answer: Answer) -> Answer {
    if answer.status != 202 {
        return answer;
    }
    let place = answer.header("location").expect("a place to look");
    eventually("an upload", || Some(client.get(place)).filter(|now| now.status != 202))
}

/// A component that was brought: its name and its digest.
pub fn brought(client: &Client, wasm: &[u8]) -> (String, String) {
    let answer = settled(client, upload(client, wasm));
    assert!([200, 201].contains(&answer.status), "{}", answer.text());
    let told = answer.json();
    let text = |key: &str| told[key].as_str().expect("a text").to_owned();
    (text("name"), text("digest"))
}

/// Puts a version in force, with what else there is to say of it.
pub fn activate(client: &Client, name: &str, digest: &str, mut more: Value) -> Answer {
    more["digest"] = json!(digest);
    client.send("PUT", &format!("/api/v1/rules/{name}/active"), &more)
}

/// The generation that is in force.
pub fn generation(client: &Client) -> i64 {
    let overview = client.get("/api/v1/rules");
    assert_eq!(overview.status, 200, "{}", overview.text());
    overview.json()["generation"].as_i64().expect("a number")
}

/// The rules in force, as `name mode digest`, digests short.
pub fn active(told: &Value) -> Vec<String> {
    let lines = told["active"].as_array().expect("a list").iter();
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

/// The same rule by another digest: a custom section that means nothing stands at its end.
pub fn other_version(wasm: &[u8]) -> Vec<u8> {
    numbered_version(wasm, 0)
}

/// So many versions of the same rule.
pub fn versions(wasm: &[u8], count: usize) -> Vec<Vec<u8>> {
    (1..=count).map(|number| numbered_version(wasm, number)).collect()
}

/// Two versions of the same rule whose digests begin with the same eight digits; so many are tried that two do.
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

/// As `curl --compressed` would have it.
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

/// Brings a component by a form with these fields, and waits for what comes of it.
pub fn form(client: &Client, fields: &[(&str, Vec<u8>)]) -> Answer {
    let mut body = Vec::new();
    for (name, bytes) in fields {
        body.extend(format!("--x-y-z\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n").bytes());
        body.extend(bytes);
        body.extend(b"\r\n");
    }
    body.extend(b"--x-y-z--\r\n");
    let answer = client.send_bytes("POST", "/api/v1/rules", "multipart/form-data; boundary=x-y-z", &body);
    settled(client, answer)
}

/// Makes the key NAME.key and NAME.pub in a folder, by the program itself.
pub fn keygen(folder: &Path, name: &str) {
    let done = Command::new(program())
        .args(["rules", "keygen", "--out", name])
        .current_dir(folder)
        .output()
        .expect("watchpost runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// Signs a component, by the program itself; the signature comes back as the program writes it.
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
