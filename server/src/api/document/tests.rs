//! Checks that the OpenAPI document describes every endpoint completely, and that the copies in `docs/` are current.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use actix_web::http::StatusCode;
use serde_json::Value;

use super::{contents, written};
use crate::config::ApiProfile;

const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

fn value(profile: ApiProfile) -> Value {
    serde_json::from_str(written(profile)).expect("it is JSON")
}

/// All operations of a document, by method and path.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().expect("there are paths");
    let mut all = Vec::new();
    for (path, item) in paths {
        for method in METHODS {
            all.extend(
                item.get(method)
                    .map(|operation| (format!("{method} {path}"), operation)),
            );
        }
    }
    all
}

#[test]
fn the_copies_of_the_document_are_current() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let mut wrong = String::new();
    for (profile, name) in [
        (ApiProfile::Full, "openapi.json"),
        (ApiProfile::PixCrawler, "openapi-pixcrawler.json"),
    ] {
        let kept = std::fs::read_to_string(docs.join(name)).unwrap_or_default();
        if kept != written(profile) {
            let test = std::env::current_exe().expect("a test has a file");
            let generated = test.with_file_name(name);
            std::fs::write(&generated, written(profile)).expect("the folder of the tests is written to");
            wrong.push_str(&format!("\ncp {} docs/{name}", generated.display()));
        }
    }
    assert!(
        wrong.is_empty(),
        "the copies in docs/ are out of date; update them with{wrong}"
    );
}

#[test]
fn every_operation_has_a_summary_its_actions_and_its_responses() {
    for profile in [ApiProfile::Full, ApiProfile::PixCrawler] {
        let document = value(profile);
        let all = operations(&document);
        for (name, operation) in &all {
            let text = |key: &str| operation[key].as_str().unwrap_or_default();
            assert!(text("summary").len() > 5 && !text("summary").ends_with('.'), "{name}");
            let is_open = text("operationId") == "liveness";
            let needs = if is_open { "Needs no permission." } else { "Needs `" };
            assert!(text("description").contains(needs), "{name}");
            assert_eq!(operation["tags"].as_array().map(Vec::len), Some(1), "{name}");
            let actions = operation["x-watchpost-actions"].as_array();
            assert!(
                actions.is_some_and(|actions| actions.is_empty() == is_open),
                "{name} allows anonymous clients"
            );
            let answers = operation["responses"].as_object().expect("there are answers");
            assert!(answers.keys().any(|status| status.starts_with('2')), "{name}");
            for status in ["401", "403", "429", "500", "503"] {
                assert!(answers.contains_key(status), "{name} lacks {status}");
            }
            for (status, answer) in answers {
                assert!(
                    answer["description"].is_string() || answer["$ref"].is_string(),
                    "{name} {status}"
                );
            }
        }
        let ids: BTreeSet<_> = all
            .iter()
            .map(|(_, operation)| operation["operationId"].as_str())
            .collect();
        assert_eq!(ids.len(), all.len(), "operation ids are unique");
    }
}

#[test]
fn every_reference_resolves() {
    fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    for profile in [ApiProfile::Full, ApiProfile::PixCrawler] {
        let document = value(profile);
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            let pointer = reference.strip_prefix('#').expect("it is in this document");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }
}

/// The framework calls the first route that matches, and the document has each path once.
#[test]
fn every_route_is_in_the_document() {
    let lines: usize = crate::api::table()
        .iter()
        .flat_map(|family| &family.routes)
        .map(|at| at.operations.len())
        .sum();
    let document = value(ApiProfile::Full);
    assert_eq!(operations(&document).len(), lines);
    let listed: usize = contents().iter().map(|chapter| chapter.endpoints.len()).sum();
    assert_eq!(listed, lines);
}

#[test]
fn every_body_has_the_content_types_of_its_class() {
    let document = value(ApiProfile::Full);
    let all: BTreeMap<_, _> = operations(&document).into_iter().collect();
    let mut bodies = 0;
    for family in crate::api::table() {
        for at in &family.routes {
            for operation in &at.operations {
                let method = serde_json::to_value(&operation.method).expect("a method has a name");
                let path = super::path::Path::of(at.path).plain;
                let name = format!("{} {path}", method.as_str().expect("a text").to_lowercase());
                let Some(content) = all[&name]["requestBody"]["content"].as_object() else {
                    continue;
                };
                let documented: BTreeSet<_> = content.keys().map(String::as_str).collect();
                let taken: BTreeSet<_> = operation.body.content_types().iter().copied().collect();
                assert_eq!(documented, taken, "{name}");
                bodies += 1;
            }
        }
    }
    assert!(bodies > 3, "{bodies}");
}

#[test]
fn path_segments_are_documented_as_parameters() {
    let document = value(ApiProfile::Full);
    for (name, operation) in operations(&document) {
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let in_path = parameters.iter().filter(|parameter| parameter["in"] == "path");
        let documented: BTreeSet<_> = in_path
            .map(|parameter| parameter["name"].as_str().unwrap_or_default().to_owned())
            .collect();
        let there: BTreeSet<_> = name
            .split('{')
            .skip(1)
            .filter_map(|rest| rest.split('}').next())
            .map(str::to_owned)
            .collect();
        assert_eq!(documented, there, "{name}");
    }
}

/// JSON bodies and forms refer to schemas with examples; metrics have an example text.
#[test]
fn every_body_has_an_example() {
    let mut known = BTreeSet::new();
    for profile in [ApiProfile::Full, ApiProfile::PixCrawler] {
        let document = value(profile);
        for (name, operation) in operations(&document) {
            let answers = operation["responses"].as_object().expect("there are answers");
            let good = answers.iter().filter(|(status, _)| status.starts_with('2'));
            let bodies = good.map(|(_, answer)| answer).chain([&operation["requestBody"]]);
            for (kind, content) in bodies.filter_map(|body| body["content"].as_object()).flatten() {
                if kind.starts_with("text/plain") || kind.starts_with("application/openmetrics-text") {
                    let text = content["example"].as_str().unwrap_or_default();
                    assert!(text.starts_with("# HELP "), "{name}: {kind} has no example");
                }
                let Some(reference) = content["schema"]["$ref"].as_str() else {
                    continue;
                };
                let schema = document.pointer(&reference[1..]).expect("it is there");
                let is_bytes = schema["format"] == "binary";
                assert!(
                    is_bytes || schema["examples"][0].is_object(),
                    "{name}: {reference} has no example"
                );
            }
        }
        let schemas = document["components"]["schemas"]
            .as_object()
            .expect("there are schemas");
        known.extend(schemas.keys().cloned());
    }
    for name in super::EXAMPLES.keys() {
        assert!(
            known.contains(name),
            "there is an example of {name}, and no such schema"
        );
    }
}

#[test]
fn every_error_has_an_example_with_its_status() {
    for profile in [ApiProfile::Full, ApiProfile::PixCrawler] {
        let document = value(profile);
        for (name, operation) in operations(&document) {
            for (status, answer) in answers(&document, operation) {
                if !status.starts_with(['4', '5']) {
                    continue;
                }
                let example = &answer["content"]["application/problem+json"]["example"];
                assert_eq!(example["status"].to_string(), status, "{name}: {example}");
                let code = StatusCode::from_bytes(status.as_bytes()).expect("it is a status");
                assert_eq!(example["title"].as_str(), code.canonical_reason(), "{name}");
                assert!(
                    example["detail"].as_str().is_some_and(|detail| detail.len() > 10),
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn every_response_documents_the_common_headers() {
    for profile in [ApiProfile::Full, ApiProfile::PixCrawler] {
        let document = value(profile);
        for (name, operation) in operations(&document) {
            for (status, answer) in answers(&document, operation) {
                let reference = &answer["headers"]["x-request-id"]["$ref"];
                assert_eq!(reference, "#/components/headers/RequestId", "{name} {status}");
                let decided = !matches!(status.as_str(), "429" | "431");
                let documented = answer["headers"]["x-watchpost-generation"].is_object();
                assert_eq!(documented, decided, "{name} {status}");
            }
        }
    }
}

/// The examples were recorded on a real machine, whose details must not be published.
#[test]
fn the_examples_reveal_no_real_machine() {
    fn check_names(key: &str, value: &Value, seen: &mut usize) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(key, value)| check_names(key, value, seen)),
            Value::Array(items) => items.iter().for_each(|item| check_names(key, item, seen)),
            Value::String(text) => {
                let legal: &[&str] = match key {
                    "kernel" | "release" => &["6.1.0-28-amd64"],
                    "os" => &["Debian GNU/Linux 12 (bookworm)"],
                    "device" => &["/dev/sda1", "/dev/sdb1"],
                    "mountpoint" => &["/", "/srv/data"],
                    "host" | "hostname" => &["edge-1"],
                    _ => return,
                };
                *seen += 1;
                assert!(legal.contains(&text.as_str()), "{key}: {text}");
            }
            _ => {}
        }
    }
    let mut seen = 0;
    super::EXAMPLES
        .iter()
        .for_each(|(name, example)| check_names(name, example, &mut seen));
    assert!(seen > 15, "{seen} names of a machine");
    for profile in [ApiProfile::Full, ApiProfile::PixCrawler] {
        let text = written(profile).to_lowercase();
        for word in ["/mnt/", "/tmp/", "/home/", "/root"] {
            assert!(!text.contains(word), "{word} is in the document");
        }
    }
}

/// Each endpoint has the parameters that it accepts, and no parameter that it would reject.
#[test]
fn rounds_take_no_metric_and_series_require_one() {
    let document = value(ApiProfile::Full);
    let names = |path: &str| -> BTreeMap<String, bool> {
        let parameters = &document["paths"][path]["get"]["parameters"];
        let parameters = parameters.as_array().expect("it has some").iter();
        parameters
            .map(|one| {
                (
                    one["name"].as_str().unwrap_or_default().to_owned(),
                    one["required"] == true,
                )
            })
            .collect()
    };
    for path in ["/api/v1/snapshots", "/api/v1/reports"] {
        let whole = ["from", "host", "to"].map(|name| (name.to_owned(), false));
        assert_eq!(names(path), BTreeMap::from(whole), "{path}");
    }
    let needed: Vec<_> = names("/api/v1/history")
        .into_iter()
        .filter_map(|(name, required)| required.then_some(name))
        .collect();
    assert_eq!(needed, ["metric"]);
}

/// The operation's responses by status, the shared ones included.
fn answers<'d>(document: &'d Value, operation: &'d Value) -> Vec<(String, &'d Value)> {
    let answers = operation["responses"].as_object().expect("there are answers");
    let whole = |answer: &'d Value| match answer["$ref"].as_str() {
        Some(reference) => document.pointer(&reference[1..]).expect("it is there"),
        None => answer,
    };
    answers
        .iter()
        .map(|(status, answer)| (status.clone(), whole(answer)))
        .collect()
}
