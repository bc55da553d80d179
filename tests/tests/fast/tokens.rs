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
            {{ name = \"grafana\", sha256 = \"{}\", roles = [\"reader\"] }},
            {{ name = \"ci\", sha256 = \"{}\" }},
            {{ name = \"placeholder\", sha256 = \"{}\", roles = [\"admin\"] }},
            {{ name = \"last-year\", sha256 = \"{}\", expires = \"2025-01-01\" }},
        ]
        [rules.role]
        identities = [{{ match = {{ token = \"ci\" }}, roles = [\"agent\"] }}]",
        hash(TOKEN),
        hash("of-ci"),
        "0".repeat(64),
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
    assert_eq!(who["identity"]["assigned_roles"], serde_json::json!(["reader"]));
    assert_eq!(bearer(TOKEN).get("/api/v1/snapshot").status, 200);
    let by_entry = bearer("of-ci").get("/api/v1/whoami").json();
    assert_eq!(by_entry["roles"], serde_json::json!(["agent", "anonymous"]));
    assert!(by_entry["identity"].get("assigned_roles").is_none(), "{by_entry}");
    // An entry for a token takes nothing from the certificates of the development authority.
    let admin = server.get("/api/v1/whoami").json();
    assert_eq!(admin["roles"], serde_json::json!(["admin", "anonymous"]));
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
fn roles_of_a_token_survive_settings_of_the_role_rule_that_were_set_through_the_api() {
    let server = Server::with(&settings()).ready();
    let roles = |token: &str| {
        let client = server
            .anonymous_client()
            .with("authorization", &format!("Bearer {token}"));
        client.get("/api/v1/whoami").json()["roles"].clone()
    };
    let other = serde_json::json!({ "roles": { "operator": ["rules.*"] } });
    let changed = server
        .client("admin")
        .send("PUT", "/api/v1/rules/role/settings", &other);
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(roles(TOKEN), serde_json::json!(["reader", "anonymous"]));
    assert_eq!(
        roles("of-ci"),
        serde_json::json!(["anonymous"]),
        "its entry was replaced"
    );
    let warnings = server.get("/api/v1/rules").json()["warnings"].clone();
    let keys: Vec<&str> = warnings
        .as_array()
        .expect("it warns")
        .iter()
        .filter_map(|warning| warning["key"].as_str())
        .collect();
    // The last one has expired, and has no role either.
    assert_eq!(
        keys,
        [
            "tokens[1].roles",
            "tokens[2].sha256",
            "tokens[3].expires",
            "tokens[3].roles"
        ],
        "{warnings}"
    );
}

#[test]
fn clients_without_access_are_named_by_check_at_startup_and_after_a_reload() {
    let server = Server::with(&settings()).ready();
    let placeholder = "this is the placeholder of the documentation, so no client can use the token placeholder";
    server.logged(placeholder);
    let checked = watchpost_tests::server::command(server.folder())
        .arg("check")
        .output()
        .expect("it runs");
    assert!(checked.status.success(), "warnings are no errors");
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(
        said.contains(placeholder) && said.contains("watchpost.toml: tokens[2].sha256: "),
        "{said}"
    );
    server.configure("[rules.role.roles]\nadmin = [\"rules.read\"]\n");
    server.signal("HUP");
    let line = server.logged("no client can change rules");
    assert!(line.contains("rules.role") && line.contains("watchpost.toml"), "{line}");
}

#[test]
fn a_mistake_in_the_settings_of_a_rule_has_file_and_key_in_check_at_startup_and_on_reload() {
    let wrong = "[[rules.role.identities]]\nmatch = { token = \"a\" }\nroles = [\"operater\"]\n\
                 [[rules.role.while]]\nmetric = \"disk\"\nat_least = \"alert\"\ndeny = [\"chunk.write\"]\n";
    let expected = [
        "watchpost.toml: rules.role.identities[0].roles[0]: there is no role operater; the roles are admin, agent, ",
        "watchpost.toml: rules.role.while[0].deny[0]: chunk.write matches no action; the actions are ",
    ];
    let folder = tempfile::tempdir().expect("a folder");
    watchpost_tests::server::configure(folder.path(), wrong);
    for command in ["check", "serve"] {
        let refused = watchpost_tests::server::command(folder.path())
            .arg(command)
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(78), "{command}: {said}");
        assert!(expected.iter().all(|part| said.contains(part)), "{command}: {said}");
    }
    let server = Server::start().ready();
    server.configure("[rules.threshold]\nthresholds = [{ metric = \"disk\", warning = \"high\" }]\n");
    server.signal("HUP");
    let line = server.logged("cannot reload the configuration");
    assert!(
        line.contains(
            "watchpost.toml: rules.threshold.thresholds[0].warning: write a number, or { enter = …, clear = … }"
        ),
        "{line}"
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

#[test]
fn the_command_line_warns_before_it_sends_a_token_without_encryption_to_another_machine() {
    let server = Server::with(&settings()).ready();
    let token = server.folder().join("token");
    std::fs::write(&token, TOKEN).expect("written");
    let said = |host: &str| {
        let url = format!("http://{host}:{}", server.plain.port());
        let output = std::process::Command::new(watchpost_tests::server::program())
            .args(["rules", "list", "--server", &url, "--token-file"])
            .arg(&token)
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert_eq!(said("127.0.0.1"), "");
    // This machine by an address that is not a loopback address.
    let warning = said("0.0.0.0");
    assert!(
        warning.contains("warning: the bearer token is sent to http://0.0.0.0") && warning.contains("use https://"),
        "{warning}"
    );
}
