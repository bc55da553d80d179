//! Records of denied requests, and of the findings of rules.

mod database_outage;
mod judgements;
mod refusals;
mod storage;

use serde_json::{Value, json};
use watchpost_tests::http::{Answer, Client};
use watchpost_tests::server::{Server, eventually};

fn records(client: &Client, query: &str) -> Vec<Value> {
    let answer = client.get(&format!("/api/v1/decisions?limit=1000&{query}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["decisions"].as_array().expect("a list").clone()
}

/// Waits until this number of records is found.
fn recorded(client: &Client, query: &str, count: usize) -> Vec<Value> {
    eventually(&format!("{count} records of {query}"), || {
        Some(records(client, query)).filter(|found| found.len() == count)
    })
}

/// Sends a request with this id that is denied.
fn refused(server: &Server, id: &str) -> Answer {
    let chunk = json!({ "job_id": 1, "chunk_index": 0, "image_range": { "start": 0, "end": 1 } });
    let reader = server.client("reader").with("x-request-id", id);
    let answer = reader.send("POST", "/api/v1/chunks", &chunk);
    assert_eq!(answer.status, 403, "{}", answer.text());
    answer
}
