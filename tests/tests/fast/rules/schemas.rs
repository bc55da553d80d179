//! Settings schemas of rules: settings are validated against them, and a malicious schema is stopped by limits.

use std::time::{Duration, Instant};

use serde_json::json;
use watchpost_tests::guests::with_schema;
use watchpost_tests::rules::{activate, generation, settled, upload, uploaded};
use watchpost_tests::server::Server;

#[test]
fn settings_that_violate_the_schema_are_refused_with_their_place() {
    let server = Server::start().ready();
    let admin = server.client("admin");
    let schema = r#"{"additionalProperties": false, "properties": {"metrics": {"items": {"type": "string"}}}}"#;
    let (name, digest) = uploaded(&admin, &with_schema(1, schema));
    let refused = activate(&admin, &name, &digest, json!({ "settings": { "metrisc": [] } }));
    let problem = refused.problem(422);
    assert!(problem.contains("metrisc"), "{problem}");
    assert_eq!(refused.json()["check"], "schema agrees with check-settings");
    assert_eq!(generation(&admin), 1);
    let good = json!({ "settings": { "metrics": ["disk"] } });
    assert_eq!(activate(&admin, &name, &digest, good).status, 200);
    let path = format!("/api/v1/rules/{name}/settings");
    let problem = admin
        .send("PUT", &path, &json!({ "metrics": ["disk"], "more": 1 }))
        .problem(422);
    assert!(problem.contains("more"), "{problem}");
    assert_eq!(generation(&admin), 2);
}

#[test]
fn an_invalid_or_unsatisfiable_schema_is_refused() {
    let server = Server::start().ready();
    let admin = server.client("admin");
    for (schema, said) in [
        (r#"{"type": 5}"#, "is not valid JSON Schema"),
        (r#"{"$ref": "https://example.com/other.json"}"#, "are not fetched"),
        (r#"{"required": ["metrics"]}"#, "metrics"),
    ] {
        let problem = settled(&admin, upload(&admin, &with_schema(1, schema))).problem(422);
        assert!(problem.contains(said), "{schema}: {problem}");
    }
}

#[test]
fn a_malicious_schema_is_stopped_by_its_limits() {
    let server = Server::start().ready();
    let admin = server.client("admin");
    // Each definition refers twice to the next one: 2^40 evaluations.
    let doubling = (0..40).map(|at| {
        let next = format!("{{\"$ref\":\"#/$defs/{}\"}}", at + 1);
        format!("\"{at}\":{{\"allOf\":[{next},{next}]}},")
    });
    let doubling = format!(
        "{{\"$ref\":\"#/$defs/0\",\"$defs\":{{{}\"40\":{{}}}}}}",
        doubling.collect::<String>()
    );
    let began = Instant::now();
    let problem = settled(&admin, upload(&admin, &with_schema(1, &doubling))).problem(422);
    assert!(problem.contains("simplify the schema"), "{problem}");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());

    let endless = r##"{"allOf": [{"$ref": "#"}]}"##;
    settled(&admin, upload(&admin, &with_schema(1, endless))).problem(422);
    assert_eq!(admin.get("/api/v1/status").status, 200);
}
