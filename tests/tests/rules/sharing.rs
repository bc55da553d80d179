//! What is promised to several Watchposts that share a database.

use std::time::{Duration, Instant};

use serde_json::json;
use watchpost_tests::guests::numbered;
use watchpost_tests::postgres;
use watchpost_tests::rules::{activate, brought, generation, in_force};
use watchpost_tests::server::{Server, eventually};

fn replica(name: &str, database: &str) -> Server {
    Server::with(&format!(
        "[server]\nhostname = \"{name}\"\n[database]\nurl = \"{database}\"\n"
    ))
}

#[test]
fn what_is_put_in_force_at_one_is_in_force_at_all_within_a_second() {
    let database = postgres::shared().database();
    let replicas = ["one", "two", "three"].map(|name| replica(name, &database));
    let admin = replicas[0].client("admin");
    for number in 0..5 {
        let (name, digest) = brought(&admin, &numbered(number));
        let answer = activate(&admin, &name, &digest, json!({}));
        let (began, wanted) = (Instant::now(), answer.json()["generation"].as_i64());
        for replica in &replicas {
            let there = replica.client("admin");
            eventually("the generation", || {
                Some(generation(&there)).filter(|now| Some(*now) == wanted)
            });
        }
        took.push(began.elapsed());
    }
    // Asking all of them takes a while too, on a machine that does other things.
    took.sort();
    assert!(took[2] < Duration::from_secs(1), "{took:?}");
    let all = replicas
        .each_ref()
        .map(|replica| in_force(&replica.get("/api/v1/rules").json()));
    assert!(all.iter().all(|lines| lines.len() == 7 && *lines == all[0]), "{all:?}");
}

#[test]
fn two_that_change_something_at_once_end_in_one_order() {
    let database = postgres::shared().database();
    let replicas = ["one", "two"].map(|name| replica(name, &database));
    let rules: Vec<_> = (0..10)
        .map(|number| brought(&replicas[0].client("admin"), &numbered(number)))
        .collect();
    std::thread::scope(|scope| {
        for (at, (name, digest)) in rules.iter().enumerate() {
            let client = replicas[at % 2].client("admin");
            scope.spawn(move || assert_eq!(activate(&client, name, digest, json!({})).status, 200));
        }
    });
    let wanted = generation(&replicas[0].client("admin")).max(generation(&replicas[1].client("admin")));
    for replica in &replicas {
        let there = replica.client("admin");
        eventually("all changes", || Some(generation(&there)).filter(|now| *now == wanted));
        assert_eq!(in_force(&there.get("/api/v1/rules").json()).len(), 12);
    }
}
