//! Requests while rules are replaced.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;
use watchpost_tests::rules::generation;
use watchpost_tests::server::Server;

#[test]
fn fifty_reloads_under_load_lose_no_request_and_mix_no_generations() {
    let server = Server::start().ready();
    let (over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut kept = server.client("admin").connect().expect("a connection");
                let mut last = 0;
                while !over.load(Ordering::Relaxed) {
                    let answer = kept.ask("GET", "/api/v1/whoami").expect("no request is lost");
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    let generation = answer.json()["decided_by"]["generation"].as_u64();
                    let header = answer
                        .header("x-watchpost-generation")
                        .and_then(|number| number.parse().ok());
                    assert_eq!(generation, header, "one request, one generation");
                    assert!(generation >= Some(last), "an older generation came back");
                    last = generation.expect("a number");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let admin = server.client("admin");
        let before = generation(&admin);
        for round in 0..50 {
            let identities = json!([
                { "match": { "attributes": { "OU": "admin" } }, "roles": ["admin"] },
                { "match": { "token": format!("token-{round}") }, "roles": ["reader"] },
            ]);
            let settings = json!({ "identities": identities });
            let answer = admin.send("PUT", "/api/v1/rules/role/settings", &settings);
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        over.store(true, Ordering::Relaxed);
        assert_eq!(generation(&admin), before + 50);
    });
    assert!(answered.load(Ordering::Relaxed) > 200, "there was a load: {answered:?}");
}
