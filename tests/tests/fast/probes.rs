//! Probes and clients with valid credentials are served while another client at their address floods the server.

use watchpost_tests::http::{Answer, Client};
use watchpost_tests::server::Server;

const TOKEN: &str = "wp_7f0d3a";

fn server(settings: &str) -> Server {
    let hash = openssl::sha::sha256(TOKEN.as_bytes());
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    Server::with(&format!(
        "tokens = [{{ name = \"ci\", sha256 = \"{hash}\", roles = [\"reader\"] }}]\n\
         [http]\nrequests_per_second = 1\nburst = 20\n{settings}"
    ))
}

/// Sends requests on one connection until one is rejected by the rate limit.
fn flooded(client: &Client, path: &str) -> Answer {
    let mut connection = client.connect().expect("a connection");
    for _ in 0..500 {
        let answer = match connection.ask("GET", path) {
            Ok(answer) => answer,
            Err(_) => {
                connection = client.connect().expect("a connection");
                continue;
            }
        };
        if answer.status == 429 {
            return answer;
        }
        if answer.header("connection") == Some("close") {
            connection = client.connect().expect("a connection");
        }
    }
    panic!("{path} has no rate limit");
}

#[test]
fn the_liveness_probe_is_never_limited_and_the_readiness_probe_has_a_limit_of_its_own() {
    let server = server("").ready();
    let flood = server.plain_client();
    flooded(&flood, "/health");
    for _ in 0..50 {
        assert_eq!(flood.get("/health/live").status, 200);
    }
    assert_eq!(flood.get("/health/ready").status, 200);
    flooded(&flood, "/health/ready");
    assert_eq!(flood.get("/health/live").status, 200);
}

#[test]
fn the_liveness_probe_is_answered_whatever_the_role_rule_and_the_credentials_are() {
    let server = server("[rules.role]\nroles = { admin = [\"*\"], anonymous = [] }\n");
    let plain = server.plain_client();
    assert_eq!(plain.get("/health").status, 401);
    for client in [
        plain.clone(),
        plain.clone().with("authorization", "Bearer of-no-client"),
        plain.clone().with("authorization", "nonsense"),
        server.client("agent"),
    ] {
        let answer = client.get("/health/live");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.text(), "{\"status\":\"alive\"}", "it is constant");
        assert_eq!(answer.header("x-watchpost-generation"), None, "no rule was evaluated");
    }
    plain.ask("POST", "/health/live").problem(405);
}

#[test]
fn valid_credentials_are_accepted_at_the_address_of_a_flooder() {
    let server = server("").ready();
    let plain = server.plain_client();
    flooded(&plain, "/health");
    flooded(&plain.clone().with("authorization", "Bearer of-no-client"), "/health");
    let bearer = plain.with("authorization", &format!("Bearer {TOKEN}"));
    for _ in 0..8 {
        assert_eq!(bearer.get("/api/v1/status").status, 200);
        assert_eq!(server.client("reader").get("/api/v1/status").status, 200);
    }
}

#[test]
fn failed_authentications_are_limited_apart_from_anonymous_requests() {
    let server = server("").ready();
    let plain = server.plain_client();
    flooded(&plain.clone().with("authorization", "Bearer of-no-client"), "/health");
    assert_eq!(
        plain.get("/health").status,
        200,
        "anonymous requests have their own limit"
    );
}
