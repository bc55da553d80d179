//! The pages in a browser: they render, load nothing from other servers, and log no errors.

use std::process::Command;

use serde_json::Value;
use watchpost_tests::server::Server;

use super::{here, python};

#[test]
fn pages_work_in_a_browser_and_load_nothing_from_other_servers() {
    let hash: String = openssl::sha::sha256(b"browser")
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let server = Server::with(&format!(
        "tokens = [{{ name = \"browser\", sha256 = \"{hash}\" }}]
        [rules.role]
        identities = [{{ match = {{ token = \"browser\" }}, roles = [\"reader\"] }}]"
    ))
    .ready();
    let folder = tempfile::tempdir().expect("a folder");
    let pictures = std::env::var_os("PICTURES").map_or_else(|| folder.path().to_owned(), Into::into);
    let base = format!("https://localhost:{}", server.secure.port());
    let output = Command::new(python("python"))
        .arg(here("browser.py"))
        .args([base.as_ref(), pictures.as_os_str()])
        .output()
        .expect("python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let results: Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
    let seen = results["seen"].as_object().expect("it saw pages");
    assert_eq!(seen.len(), 7 * 3 * 2);
    for (name, page) in seen {
        quiet(name, page, &base);
        assert!(
            page["wider_by"].as_i64().is_some_and(|more| more <= 0),
            "{name} is too wide: {page}"
        );
        let is_dark = page["background"] == "rgb(20, 24, 29)";
        assert_eq!(is_dark, name.ends_with("dark"), "{name}: {page}");
        assert!(page["title"].as_str().is_some_and(|title| !title.is_empty()), "{name}");
        if page["opened"].is_object() {
            readable(name, &page["opened"]);
        }
    }
    let tried = &results["tried"];
    quiet("what was tried", tried, &base);
    assert_eq!(tried["status"], "200", "{tried}");
    assert!(
        tried["text"].as_str().is_some_and(|text| text.contains("anonymous")),
        "{tried}"
    );
    let reached: Vec<_> = results["reached"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(
        reached,
        [
            "To the content",
            "Watchpost",
            "Try the API",
            "API reference",
            "OpenAPI",
            "Health"
        ]
    );
    assert_eq!(results["opened_by_keys"], true, "the keyboard opens no operation");
}

/// An expanded operation is completely readable, and can be tried if the server of the document responds.
fn readable(name: &str, opened: &Value) {
    assert!(
        opened["looked"].as_u64().is_some_and(|words| words > 30),
        "{name}: {opened}"
    );
    assert_eq!(opened["pale"], serde_json::json!([]), "{name}");
    assert_eq!(opened["cut"], serde_json::json!([]), "{name}");
    let tries = u64::from(name.starts_with("docs "));
    assert_eq!(opened["tries"], tries, "{name}");
}

fn quiet(name: &str, page: &Value, base: &str) {
    assert_eq!(page["complaints"], serde_json::json!([]), "{name}");
    for url in page["requests"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
    {
        let ours =
            url.starts_with(base) || url.starts_with("data:") || url.starts_with("blob:") || url == "about:blank";
        assert!(ours, "{name} asks for {url}");
    }
    for policy in page["policies"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
    {
        assert!(policy.starts_with("default-src 'none'"), "{name}: {policy}");
        assert!(!policy.contains("unsafe"), "{name}: {policy}");
    }
    assert!(!page["policies"].as_array().expect("a list").is_empty(), "{name}");
}
