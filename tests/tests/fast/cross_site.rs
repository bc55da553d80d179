//! Cross-site request forgery: a page of another site cannot change anything with the certificate of a browser.

use serde_json::json;
use watchpost::api;
use watchpost_tests::http::Client;
use watchpost_tests::server::Server;

const TOKEN: &str = "wp_5b1c9e";

/// What a browser sends for `fetch(url, { method: "POST", mode: "no-cors", credentials: "include" })` of another site.
const FOREIGN: [&[(&str, &str)]; 5] = [
    &[("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")],
    &[("origin", "https://evil.localhost"), ("sec-fetch-site", "same-site")],
    &[("sec-fetch-site", "cross-site")],
    &[("origin", "https://evil.example")],
    &[("origin", "null")],
];

const FORM_TYPES: [&str; 3] = [
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=b",
];

fn server() -> Server {
    let hash = openssl::sha::sha256(TOKEN.as_bytes());
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let tokens = format!("tokens = [{{ name = \"ci\", sha256 = \"{hash}\", roles = [\"admin\"] }}]");
    Server::with(&tokens).ready()
}

/// All operations of the route table that change something, with a path that exists.
fn changes() -> Vec<(&'static str, String)> {
    let table = api::table();
    let routes = table.iter().flat_map(|family| &family.routes);
    let mut all = Vec::new();
    for route in routes {
        let path = route
            .path
            .replace("{name}", "role")
            .replace("{digest}", &"0".repeat(64))
            .replace("{id}", "1");
        for operation in &route.operations {
            let methods = operation
                .allowed
                .iter()
                .filter(|method| !["GET", "HEAD"].contains(method));
            all.extend(methods.map(|method| (*method, path.clone())));
        }
    }
    for (method, path) in &all {
        assert!(
            !path.contains('{'),
            "{method} {path} has a parameter that this test does not know"
        );
    }
    // The router also accepts a path with encoded letters.
    let encoded = |path: &str| {
        let (rest, last) = path.split_at(path.len() - 1);
        format!("{rest}%{:02x}", last.as_bytes()[0])
    };
    let again: Vec<_> = all.iter().map(|(method, path)| (*method, encoded(path))).collect();
    all.extend(again);
    all
}

fn with_headers(client: &Client, headers: &[(&str, &str)]) -> Client {
    let add = |client: Client, (name, value): &(&str, &str)| client.with(name, value);
    headers.iter().fold(client.clone(), add)
}

fn generation(server: &Server) -> i64 {
    server.get("/api/v1/rules").json()["generation"]
        .as_i64()
        .expect("a number")
}

#[test]
fn a_page_of_another_site_changes_nothing_on_any_route() {
    let server = server();
    let admin = server.client("admin");
    let settings = json!({ "roles": { "admin": ["*"], "agent": ["chunks.*"] } });
    assert_eq!(admin.send("PUT", "/api/v1/rules/role/settings", &settings).status, 200);
    let before = generation(&server);
    let changes = changes();
    assert!(changes.len() >= 12, "{changes:?}");
    for (method, path) in &changes {
        for headers in FOREIGN {
            let page = with_headers(&admin, headers);
            for content_type in FORM_TYPES.iter().chain(&["application/json"]) {
                let problem = page.send_bytes(method, path, content_type, b"").problem(403);
                assert!(
                    problem.contains("a page of another site"),
                    "{method} {path} {headers:?}: {problem}"
                );
            }
            page.ask(method, path).problem(403);
        }
    }
    assert_eq!(generation(&server), before);
}

#[test]
fn a_post_with_the_content_type_of_a_form_or_without_one_is_refused_on_any_route() {
    let server = server();
    let admin = server.client("admin");
    let before = generation(&server);
    for (_, path) in changes().iter().filter(|(method, _)| *method == "POST") {
        for content_type in FORM_TYPES {
            admin.send_bytes("POST", path, content_type, b"{}").problem(415);
        }
        admin.ask("POST", path).problem(415);
    }
    assert_eq!(generation(&server), before);
}

#[test]
fn a_page_of_this_server_and_clients_without_a_browser_may_change_rules() {
    let server = server();
    let admin = server.client("admin");
    let settings = json!({ "roles": { "admin": ["*"], "agent": ["chunks.*"] } });
    for (number, headers) in [
        &[][..],
        &[("origin", "https://localhost")],
        &[("origin", "https://localhost:443")],
        &[("origin", "https://public.example"), ("sec-fetch-site", "same-origin")],
        &[("sec-fetch-site", "none")],
    ]
    .iter()
    .enumerate()
    {
        let before = generation(&server);
        let client = with_headers(&admin, headers);
        let path = "/api/v1/rules/role/settings";
        let answer = match number % 2 {
            0 => client.send("PUT", path, &settings),
            _ => client.ask("DELETE", path),
        };
        assert_eq!(answer.status, 200, "{headers:?}: {}", answer.text());
        assert_eq!(generation(&server), before + 1, "{headers:?}");
        if number % 2 == 0 {
            let back = client.send("POST", "/api/v1/rules/role/rollback", &json!({}));
            assert_eq!(back.status, 200, "{headers:?}: {}", back.text());
            admin.send("PUT", path, &settings);
        }
    }
}

#[test]
fn a_bearer_token_is_exempt_because_no_browser_adds_it() {
    let server = server();
    let admin = server.client("admin");
    let settings = json!({ "roles": { "admin": ["*"], "agent": ["chunks.*"] } });
    assert_eq!(admin.send("PUT", "/api/v1/rules/role/settings", &settings).status, 200);
    let bearer = server
        .anonymous_client()
        .with("authorization", &format!("Bearer {TOKEN}"))
        .with("origin", "https://dashboard.example")
        .with("sec-fetch-site", "cross-site");
    let answer = bearer.ask("POST", "/api/v1/rules/role/rollback");
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn a_form_needs_a_header_that_only_a_page_of_this_server_or_a_program_can_add() {
    let server = server();
    let admin = server.client("admin");
    let form = b"--b\r\ncontent-disposition: form-data; name=\"component\"\r\n\r\nno component\r\n--b--\r\n";
    let send = |headers: &[(&str, &str)]| {
        let client = with_headers(&admin, headers);
        client.send_bytes("POST", "/api/v1/rules", "multipart/form-data; boundary=b", form)
    };
    let problem = send(&[]).problem(415);
    assert!(problem.contains("add the header x-requested-with"), "{problem}");
    for headers in [
        [("x-requested-with", "curl")],
        [("sec-fetch-site", "same-origin")],
        [("origin", "https://localhost")],
    ] {
        send(&headers).problem(422);
    }
}
