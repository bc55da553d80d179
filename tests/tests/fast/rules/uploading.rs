//! Uploads of rules.

use serde_json::json;
use watchpost_tests::crafted::{CONTRACT, manifest, of_world, threshold, wat};
use watchpost_tests::guests::{HOSTILE, NUMBERED_BYTES, numbered};
use watchpost_tests::rules::{other_version, settled, upload, uploaded};
use watchpost_tests::server::Server;

#[test]
fn a_rule_that_passes_all_checks_is_stored_with_its_checks() {
    let server = Server::start().ready();
    let admin = server.client("admin");
    let answer = settled(&admin, upload(&admin, &numbered(1)));
    assert_eq!(answer.status, 201, "{}", answer.text());
    let body = answer.json();
    assert_eq!(
        (body["name"].as_str(), body["kind"].as_str()),
        (Some("numbered-001"), Some("threshold"))
    );
    assert_eq!(body["bytes"], NUMBERED_BYTES);
    assert!(
        body["uploaded_by"].as_str().is_some_and(|who| who.contains("CN=admin")),
        "{body}"
    );
    let checks = body["checks"].as_array().expect("a list");
    assert!(
        checks.len() >= 3 && checks.iter().all(|check| check["duration_ms"].as_f64() > Some(0.0)),
        "{body}"
    );
    let place = answer.header("location").expect("where it is");
    assert_eq!(admin.get(place).json()["digest"], body["digest"]);
    let component = admin.get(&format!("{place}.wasm"));
    assert_eq!(
        (component.status, component.header("content-type")),
        (200, Some("application/wasm"))
    );
    assert!(component.body == numbered(1), "the download has the uploaded bytes");
}

#[test]
fn the_same_bytes_again_are_the_same_version() {
    let server = Server::start();
    let admin = server.client("admin");
    let first = settled(&admin, upload(&admin, &numbered(1)));
    let again = upload(&admin, &numbered(1));
    assert_eq!((first.status, again.status), (201, 200));
    assert_eq!(first.json()["digest"], again.json()["digest"]);
    assert!(first.json()["uploaded_at"].is_string(), "{}", first.json());
    assert_eq!(first.json()["uploaded_at"], again.json()["uploaded_at"]);
    let versions = admin.get("/api/v1/rules/numbered-001/versions").json();
    assert_eq!(versions["versions"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_form_uploads_settings_and_a_note_with_the_rule() {
    let server = Server::start();
    let admin = server.client("admin");
    let form = |settings: &str| {
        let mut body = Vec::new();
        let mut part = |name: &str, bytes: &[u8]| {
            body.extend(format!("--x\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n").bytes());
            body.extend(bytes);
            body.extend(b"\r\n");
        };
        part("note", b"from the form");
        part("component", HOSTILE);
        part("settings", settings.as_bytes());
        body.extend(b"--x--\r\n");
        let answer = admin.clone().with("x-requested-with", "test").send_bytes(
            "POST",
            "/api/v1/rules",
            "multipart/form-data; boundary=x",
            &body,
        );
        settled(&admin, answer)
    };
    let refused = form(r#"{"do": "panic"}"#);
    let problem = refused.problem(422);
    assert!(
        problem.contains("is on fire"),
        "the guest's message is reported: {problem}"
    );
    assert_eq!(refused.json()["check"], "evaluates sample rounds");
    assert!(refused.json()["advice"].is_string());
    let taken = form(r#"{"do": "well", "count": 7}"#);
    assert_eq!(taken.status, 201, "{}", taken.text());
    assert_eq!(taken.json()["note"], "from the form");
    let digest = taken.json()["digest"].as_str().expect("a digest").to_owned();
    let active = watchpost_tests::rules::activate(&admin, "hostile", &digest, json!({}));
    assert_eq!(active.status, 200, "{}", active.text());
    let rule = admin.get("/api/v1/rules/hostile").json();
    assert_eq!(
        rule["active"][0]["settings"]["count"], 7,
        "it has the settings of its upload"
    );
}

#[test]
fn an_upload_that_is_not_a_rule_is_refused_with_the_reason() {
    let server = Server::start();
    let admin = server.client("admin");
    let refused = |bytes: &[u8]| settled(&admin, upload(&admin, bytes)).problem(422);
    assert!(refused(b"hello").contains("not WebAssembly"));
    assert!(refused(b"\0asm\x01\0\0\0").contains("core module"));
    let cut = numbered(1);
    assert!(refused(&cut[..cut.len() / 2]).contains("truncated"));
    let other_contract = CONTRACT.replace("watchpost:rules", "another:contract");
    assert!(refused(&of_world(&other_contract, "threshold")).contains("another:contract"));
    let silent = refused(&of_world(CONTRACT, "threshold"));
    assert!(silent.contains("describe"), "{silent}");
    assert_eq!(
        admin.get("/api/v1/rules").json()["rules"].as_array().map(Vec::len),
        Some(2),
        "nothing was kept"
    );
}

#[test]
fn the_name_of_a_rule_of_another_kind_is_refused() {
    let server = Server::start();
    let texts = [(3000, "role"), (3010, "1"), (3020, "An impostor."), (3040, "{}")];
    let at = texts.map(|(at, text)| (at, u32::try_from(text.len()).expect("short")));
    let data = texts.map(|(at, text)| format!("(data (i32.const {at}) \"{text}\")"));
    let extra = format!("{} {}", manifest(at), data.concat());
    let impostor = threshold(&wat(1, "i32.const 2048", &extra));
    let admin = server.client("admin");
    let problem = settled(&admin, upload(&admin, &impostor)).problem(409);
    assert!(problem.contains("a role rule named role exists"), "{problem}");
}

#[test]
fn one_byte_too_many_is_refused_before_it_is_read_whole() {
    let server = Server::with("[rules.limits]\ncomponent_bytes = \"512KiB\"\n");
    let admin = server.client("admin");
    let zeros = vec![0; 512 * 1024 + 1];
    let problem = upload(&admin, &zeros).problem(413);
    assert!(problem.contains("rules.limits.component_bytes"), "{problem}");
    assert_eq!(
        upload(&admin, &zeros[1..]).status,
        422,
        "as many as are allowed are looked at"
    );
    let mut gigabyte = admin.connect().expect("a connection");
    let head = "POST /api/v1/rules HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/wasm\r\ncontent-length: 1073741824\r\n\r\n";
    gigabyte.send(head.as_bytes()).expect("sent");
    let answer = gigabyte.answer(false).expect("it is answered without the body");
    assert_eq!(answer.status, 413);
}

#[test]
fn a_gigabyte_without_a_content_length_costs_no_memory() {
    let server = Server::start().ready();
    let admin = server.client("admin");
    let before = server.resident_mb();
    let mut connection = admin.connect().expect("a connection");
    let head = "POST /api/v1/rules HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/wasm\r\n\
                transfer-encoding: chunked\r\n\r\n";
    connection.send(head.as_bytes()).expect("sent");
    let chunk = [b"100000\r\n".as_slice(), &vec![b'a'; 1 << 20], b"\r\n"].concat();
    let mut sent = 0;
    let mut most: f64 = 0.0;
    // After the refusal the client cannot send any more.
    while sent < 1024 && connection.send(&chunk).is_ok() {
        sent += 1;
        most = most.max(server.resident_mb());
    }
    // If the response can be read, it is a refusal; a client that keeps sending may find the connection closed.
    let answer = connection.answer(false);
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status == 413));
    assert!(sent < 1024, "all of it was read");
    // The limit is 32 MB.
    assert!(
        most < before + 100.0,
        "{most} MB at most and {before} MB before, after {sent} MB were sent"
    );
    assert_eq!(admin.get("/api/v1/status").status, 200);
}

#[test]
fn a_body_that_is_too_large_after_decompression_is_refused() {
    let server = Server::with("[rules.limits]\ncomponent_bytes = \"512KiB\"\n");
    let zeros = vec![0; 32 * 1024 * 1024];
    let small = watchpost_tests::rules::gzip(&zeros);
    assert!(small.len() < 512 * 1024, "it is small enough on the wire");
    let admin = server.client("admin").with("content-encoding", "gzip");
    let problem = upload(&admin, &small).problem(413);
    assert!(problem.contains("524288"), "{problem}");
    let good = watchpost_tests::rules::gzip(&numbered(1));
    let taken = upload(&admin, &good);
    assert!([201, 202].contains(&taken.status), "{}", taken.text());
}

#[test]
fn an_upload_beyond_the_maximum_number_of_versions_is_refused_with_a_remedy() {
    let server = Server::with("[rules]\nmax_versions = 1\n");
    let admin = server.client("admin");
    let (name, digest) = uploaded(&admin, &numbered(1));
    let refused = || settled(&admin, upload(&admin, &other_version(&numbered(1)))).problem(409);
    let problem = refused();
    assert!(
        problem.contains("rules.max_versions") && problem.contains("delete"),
        "{problem}"
    );
    assert_eq!(uploaded(&admin, &numbered(1)).1, digest, "the same bytes need no room");
    uploaded(&admin, &numbered(2));
    let deleted = admin.ask("DELETE", &format!("/api/v1/rules/{name}/versions/{digest}"));
    assert_eq!(deleted.status, 204, "{}", deleted.text());
    assert_eq!(uploaded(&admin, &other_version(&numbered(1))).0, name);
}

#[test]
fn other_content_types_are_refused_with_the_accepted_ones() {
    let server = Server::start();
    let admin = server.client("admin");
    let answer = admin.send_bytes("POST", "/api/v1/rules", "text/plain", b"x");
    assert!(answer.problem(415).contains("application/wasm"));
    let empty = admin.clone().with("x-requested-with", "test").send_bytes(
        "POST",
        "/api/v1/rules",
        "multipart/form-data; boundary=x",
        b"--x--\r\n",
    );
    assert!(empty.problem(400).contains("component"));
}

#[test]
fn uploading_rules_needs_the_permission_to_change_them() {
    let server = Server::start();
    for client in [server.anonymous_client(), server.client("reader")] {
        let answer = upload(&client, &numbered(1));
        assert!([401, 403].contains(&answer.status), "{}", answer.text());
    }
    assert_eq!(server.anonymous_client().get("/api/v1/rules").status, 401);
}
