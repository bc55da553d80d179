//! Bearer tokens as identities.

use watchpost_tests::server::Server;

const TOKEN: &str = "wp_4d1f5b7e2c";

fn settings() -> String {
    let hash = |token: &str| {
        let bytes = openssl::sha::sha256(token.as_bytes());
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    format!(
        "tokens = [
            {{ name = \"grafana\", sha256 = \"{}\" }},
            {{ name = \"last-year\", sha256 = \"{}\", expires = \"2025-01-01\" }},
        ]
        [rules.role]
        identities = [{{ match = {{ token = \"grafana\" }}, roles = [\"reader\"] }}]",
        hash(TOKEN),
        hash("ended"),
    )
}

#[test]
fn a_token_is_an_identity_with_its_own_roles() {
    let server = Server::with(&settings()).ready();
    let bearer = |token: &str| {
        server
            .anonymous_client()
            .with("authorization", &format!("Bearer {token}"))
    };
    let who = bearer(TOKEN).get("/api/v1/whoami").json();
    assert_eq!(who["identity"]["name"], "grafana", "{who}");
    assert_eq!(who["roles"], serde_json::json!(["reader", "anonymous"]));
    assert_eq!(bearer(TOKEN).get("/api/v1/snapshot").status, 200);
    assert_eq!(bearer("wrong").get("/health").problem(401), "the token is unknown");
    assert_eq!(
        bearer("ended").get("/health").problem(401),
        "the token has expired; request a new one"
    );
    assert!(
        server.log_lines().iter().all(|line| !line.contains(TOKEN)),
        "secrets never print"
    );
}

#[test]
fn a_removed_token_is_rejected_after_the_next_reload() {
    let server = Server::with(&settings()).ready();
    let bearer = server
        .anonymous_client()
        .with("authorization", &format!("Bearer {TOKEN}"));
    let mut open = bearer.connect().expect("it answers");
    assert_eq!(open.ask("GET", "/api/v1/snapshot").expect("an answer").status, 200);
    server.configure("");
    server.signal("HUP");
    server.logged("configuration reloaded");
    assert_eq!(open.ask("GET", "/api/v1/snapshot").expect("an answer").status, 401);
}
