//! What the API's document says is what is served: to strangers, to programs that look for contradictions, to clients
//! that are made of it, and to people with a browser.

mod browsing;
mod clients;
mod conforming;
mod pages;
mod strangers;

use std::path::PathBuf;

use serde_json::Value;
use watchpost_tests::http::Client;
use watchpost_tests::server::tools;

/// A program of the environment in which `make test` installs what reads documents.
fn python(name: &str) -> PathBuf {
    tools().join("documented/bin").join(name)
}

/// A file of this test.
fn here(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/documented")
        .join(name)
}

/// Every operation of a document: how, where, and what is said of it.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().expect("there are paths");
    let mut all = Vec::new();
    for (path, item) in paths {
        for (method, operation) in item.as_object().expect("a path has methods") {
            all.push((method.to_uppercase(), path.clone(), operation.clone()));
        }
    }
    assert!(!all.is_empty());
    all
}

fn document(client: &Client) -> Value {
    let answer = client.get("/openapi.json");
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("application/json"))
    );
    answer.json()
}
