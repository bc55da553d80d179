//! Access control of every documented path.

use watchpost_tests::http::Client;
use watchpost_tests::server::Server;

use super::{document, operations};

/// A path with a value for each parameter.
fn filled(path: &str) -> String {
    path.replace("{name}", "threshold")
        .replace("{digest}", &"0".repeat(64))
        .replace("{file}", "icon.svg")
        .replace("{id}", "1")
}

#[test]
fn an_anonymous_client_gets_exactly_what_the_document_marks_as_open() {
    let server = Server::start().ready();
    let document = document(&server.client("admin"));
    let (mut open, mut closed) = (0, 0);
    for (method, path, operation) in operations(&document) {
        let security = operation["security"].as_array().expect("it says who may");
        let optional = |one: &serde_json::Value| one.as_object().is_some_and(|one| one.is_empty());
        let is_open = security.is_empty() || security.iter().any(optional);
        for client in [server.anonymous_client(), server.plain_client()] {
            // Authorization precedes the validation of the request.
            let answer = client.send_bytes(&method, &filled(&path), "text/nonsense", b"nonsense");
            match is_open {
                true => assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text()),
                false => assert_eq!(answer.status, 401, "{method} {path}: {}", answer.text()),
            }
            let is_authorized = operation["x-watchpost-actions"] != serde_json::json!([]);
            for header in ["x-request-id", "x-watchpost-request-id"] {
                assert!(answer.header(header).is_some(), "{method} {path} lacks {header}");
            }
            let generation = answer.header("x-watchpost-generation");
            assert_eq!(generation.is_some(), is_authorized, "{method} {path}");
        }
        *if is_open { &mut open } else { &mut closed } += 1;
    }
    assert!(open > 10 && closed > 30, "{open} open, {closed} closed");
}

#[test]
fn a_client_without_permission_is_denied_with_the_action_in_the_document() {
    let server = Server::start().ready();
    let document = document(&server.client("admin"));
    let may: Vec<String> =
        serde_json::from_value(server.client("agent").get("/api/v1/whoami").json()["allowed_actions"].take())
            .expect("a list of actions");
    for (method, path, operation) in operations(&document) {
        let actions = operation["x-watchpost-actions"].as_array().expect("it names actions");
        let missing = actions
            .iter()
            .filter_map(|action| action.as_str())
            .find(|action| !may.iter().any(|may| may == action));
        if let Some(missing) = missing {
            let answer = server
                .client("agent")
                .send_bytes(&method, &filled(&path), "text/nonsense", b"nonsense");
            let problem = answer.problem(403);
            assert!(problem.contains(missing), "{method} {path}: {problem}");
        }
    }
}

#[test]
fn a_body_without_the_json_content_type_is_refused_with_a_remedy() {
    let server = Server::start().ready();
    let client = server.client("admin");
    let form = "application/x-www-form-urlencoded";
    for (method, path) in [
        ("POST", "/api/v1/chunks"),
        ("PATCH", "/api/v1/chunks/1"),
        ("PUT", "/api/v1/rules/threshold/settings"),
        ("POST", "/api/v1/rules/threshold/rollback"),
    ] {
        let problem = client.send_bytes(method, path, form, b"{}").problem(415);
        assert!(
            problem.contains("send content-type: application/json"),
            "{path}: {problem}"
        );
    }
    let problem = client.get("/api/v1/chunks/abc").problem(400);
    assert_eq!(
        problem,
        "\"abc\" is not an id; write the id from an earlier response, such as 1"
    );
    let digest = client.get("/api/v1/rules/threshold/versions/abc").problem(400);
    assert!(
        digest.ends_with("write the 64 hexadecimal digits from an earlier response"),
        "{digest}"
    );
    let problem = client
        .send_bytes("POST", "/api/v1/chunks", "application/json", b"{")
        .problem(400);
    assert!(!problem.contains("deserialize"), "{problem}");
}

#[test]
fn each_api_profile_has_its_own_document() {
    let server = Server::with(
        "listeners = [
            { address = \"127.0.0.1:0\" },
            { address = \"127.0.0.1:0\", tls = false, api = \"pixcrawler\" },
        ]",
    );
    let document = server.get("/openapi.json?api=pixcrawler").json();
    let client: Client = server.plain_client();
    watchpost_tests::server::eventually("a first round", || {
        (client.get("/metrics").json()["last_updated"].is_string()).then_some(())
    });
    for (method, path, operation) in operations(&document) {
        let answer = client.ask(&method, &path);
        assert_eq!(answer.status, 200, "{method} {path}");
        let kinds = operation["responses"]["200"]["content"]
            .as_object()
            .expect("it has a body");
        assert!(
            kinds.contains_key(answer.header("content-type").unwrap_or_default()),
            "{method} {path}"
        );
    }
    assert_eq!(operations(&document).len(), 2);
    assert_eq!(client.get("/openapi.json").status, 404, "nothing else is served there");
    assert_eq!(server.get("/openapi.json?api=none").status, 400);
}
