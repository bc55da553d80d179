//! The server conforms to the OpenAPI document, and the configurations of the documentation give access.

mod access;
mod configurations;
mod pages;

use serde_json::Value;
use watchpost_tests::http::Client;

/// Every operation of a document: its method, its path, and its description.
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
