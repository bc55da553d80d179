//! Tests of matching and of decisions, natively.

use watchpost_rule::role::{Certificate, Decision, Identity, Label, Request, Rule, Severity, Standing, Subject};

use crate::Roles;

fn actions() -> Vec<String> {
    [
        "health.read",
        "rules.read",
        "rules.write",
        "sessions.read",
        "sessions.run",
    ]
    .map(str::to_owned)
    .into()
}

fn decided(settings: &str, identity: Identity, action: &str, standings: Vec<Standing>) -> Decision {
    decided_with(&[], settings, identity, action, standings)
}

/// The decision about an identity to which the server assigns roles.
fn decided_with(
    assigned_roles: &[&str],
    settings: &str,
    identity: Identity,
    action: &str,
    standings: Vec<Standing>,
) -> Decision {
    let plan = watchpost_rule::role::check::<Roles>(settings, &actions());
    let plan = plan.unwrap_or_else(|problems| panic!("{problems:?}"));
    let request = Request {
        identity,
        action: action.to_owned(),
        resource: String::new(),
        facts: Vec::new(),
        assigned_roles: assigned_roles.iter().map(|role| (*role).to_owned()).collect(),
    };
    watchpost_rule::role::decide::<Roles>(request, standings, &plan.settings).expect("it decides")
}

fn label(name: &str, value: &str) -> Label {
    Label {
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

fn ada() -> Certificate {
    Certificate {
        subject: "CN=ada,OU=ops,O=Example".to_owned(),
        subject_slash: "/O=Example/OU=ops/CN=ada".to_owned(),
        subject_attributes: vec![label("O", "Example"), label("OU", "ops"), label("CN", "ada")],
        issuer: "CN=Example CA,O=Example".to_owned(),
        dns_names: vec!["ada.edge.example.org".to_owned(), "other.example.com".to_owned()],
        uris: vec!["spiffe://example.org/ops/ada".to_owned()],
        emails: vec!["ada@example.org".to_owned()],
        fingerprint: "ab".repeat(32),
    }
}

#[test]
fn each_field_of_an_identity_can_be_matched() {
    let is_matched = |fields: &str| {
        let settings = format!(
            r#"{{"identities": [{{"match": {fields}, "roles": ["ops"]}}], "roles": {{"ops": ["rules.write"]}}}}"#
        );
        decided(&settings, Identity::Certificate(ada()), "rules.write", Vec::new()).allowed
    };
    let matching = [
        r#"{"subject": "CN=*,OU=ops,O=Example"}"#,
        r#"{"subject_slash": "/O=Example/OU=ops/*"}"#,
        r#"{"attributes": {"OU": "o*", "CN": "ada"}}"#,
        r#"{"issuer": "CN=Example CA,O=Example"}"#,
        r#"{"dns": "*.edge.example.org"}"#,
        r#"{"dns": "**.org"}"#,
        r#"{"uri": "spiffe://example.org/**"}"#,
        r#"{"email": "*@example.org"}"#,
        r#"{"fingerprint": "abab*"}"#,
    ];
    for fields in matching {
        assert!(is_matched(fields), "{fields} should match");
    }
    let others = [
        r#"{"subject": "CN=*"}"#,
        r#"{"subject_slash": "/O=Example/*"}"#,
        r#"{"attributes": {"OU": "ops", "CN": "bob"}}"#,
        r#"{"issuer": "CN=Example CA,O=Example", "attributes": {"OU": "dev"}}"#,
        r#"{"dns": "*.example.org"}"#,
        r#"{"subject": "CN=*,O=Example"}"#,
        r#"{"uri": "spiffe://example.org/*"}"#,
        r#"{"token": "ada"}"#,
        r#"{"token": "*", "issuer": "CN=Example CA,O=Example"}"#,
    ];
    for fields in others {
        assert!(!is_matched(fields), "{fields} should not match");
    }
}

#[test]
fn a_name_cannot_be_forged_inside_a_value() {
    let forged = Certificate {
        subject: "CN=eve\\,OU=ops,O=Example".to_owned(),
        ..ada()
    };
    for pattern in ["CN=*,OU=ops,O=Example", "**,OU=ops,O=Example", "**OU=ops,O=Example"] {
        let settings = format!(
            r#"{{"identities": [{{"match": {{"subject": "{pattern}"}}, "roles": ["ops"]}}], "roles": {{"ops": ["*"]}}}}"#
        );
        let allowed =
            |certificate| decided(&settings, Identity::Certificate(certificate), "rules.write", Vec::new()).allowed;
        assert!(allowed(ada()), "{pattern}");
        // A pattern that does not start at a separator matches within a value too.
        assert_eq!(allowed(forged.clone()), pattern == "**OU=ops,O=Example", "{pattern}");
    }
}

#[test]
fn a_clause_that_would_never_deny_anything_is_refused() {
    let settings = r#"{
        "identities": [],
        "roles": {"anonymous": ["health.read"]},
        "while": [{"metric": "disk", "at_least": "alert", "deny": ["*"], "except": ["anonymous"]}]
    }"#;
    let problems = watchpost_rule::role::check::<Roles>(settings, &actions()).expect_err("refused");
    assert_eq!(problems[0].path, "/while/0/except/0");
}

#[test]
fn a_pattern_for_everyone_is_not_a_pattern_for_anonymous() {
    let settings = r#"{"identities": [{"match": {"token": "*"}, "roles": ["ops"]}], "roles": {"ops": ["*"]}}"#;
    assert!(decided(settings, Identity::Token("any".to_owned()), "rules.write", Vec::new()).allowed);
    assert!(!decided(settings, Identity::Anonymous, "rules.write", Vec::new()).allowed);
}

#[test]
fn roles_add_up_and_none_is_listed_twice() {
    let settings = r#"{
        "identities": [
            {"match": {"attributes": {"OU": "ops"}}, "roles": ["writes", "reads"]},
            {"match": {"email": "*@example.org"}, "roles": ["reads"]}
        ],
        "roles": {"reads": ["*.read"], "writes": ["*.write"]}
    }"#;
    let decision = decided(settings, Identity::Certificate(ada()), "sessions.read", Vec::new());
    assert!(decision.allowed);
    assert_eq!(decision.roles, ["writes", "reads", "anonymous"]);
    let denied = decided(settings, Identity::Certificate(ada()), "sessions.run", Vec::new());
    let expected = "CN=ada,OU=ops,O=Example has the roles writes, reads, which do not allow sessions.run";
    assert_eq!(denied.reason, expected);
}

#[test]
fn a_clause_denies_for_its_subject_from_its_severity_on() {
    let settings = r#"{
        "identities": [{"match": {"token": "ci"}, "roles": ["ops"]}],
        "roles": {"ops": ["*"]},
        "while": [{"metric": "disk", "labels": {"mountpoint": "/data*"}, "at_least": "warning", "deny": ["sessions.*"]}]
    }"#;
    let allowed = |metric: &str, mountpoint: &str, severity| {
        let standing = Standing {
            rule: "threshold".to_owned(),
            subject: Subject {
                metric: metric.to_owned(),
                labels: match mountpoint {
                    "" => Vec::new(),
                    of => vec![label("mountpoint", of)],
                },
            },
            severity,
            since_ms: 0,
        };
        decided(
            settings,
            Identity::Token("ci".to_owned()),
            "sessions.run",
            vec![standing],
        )
        .allowed
    };
    assert!(!allowed("disk", "/data/1", Severity::Warning));
    assert!(!allowed("disk", "/data/1", Severity::Alert));
    assert!(allowed("disk", "/data/1", Severity::Unknown));
    assert!(allowed("disk", "/", Severity::Alert));
    assert!(allowed("memory", "/data/1", Severity::Alert));
    // A finding about the metric as a whole is about this disk too.
    assert!(!allowed("disk", "", Severity::Alert));
}

#[test]
fn a_denial_is_a_sentence_of_bounded_length_for_every_identity() {
    let max_bytes = 1500 + "…".len();
    let denied = |settings: &str, identity, standings| {
        let decision = decided(settings, identity, "sessions.run", standings);
        assert!(
            !decision.allowed && decision.reason.len() <= max_bytes,
            "{}",
            decision.reason
        );
        decision.reason
    };
    let certificate = Certificate {
        subject: format!("CN={}", "ä".repeat(5000)),
        ..ada()
    };
    let roles: Vec<String> = (0..58).map(|at| format!("{at:02}{}", "x".repeat(62))).collect();
    let by_role: serde_json::Map<_, _> = roles.iter().map(|role| (role.clone(), serde_json::json!([]))).collect();
    let settings = serde_json::json!({
        "identities": [{"match": {"issuer": "**"}, "roles": roles}, {"match": {"token": "*"}, "roles": []}],
        "roles": by_role,
    })
    .to_string();
    denied(&settings, Identity::Certificate(certificate), Vec::new());
    let of_token = denied(&settings, Identity::Token("t".repeat(5000)), Vec::new());
    assert!(
        of_token.ends_with("… has no role here, and sessions.run needs one"),
        "{of_token}"
    );

    // Each quote is escaped in a message and takes two bytes.
    let standing = Standing {
        rule: "threshold".to_owned(),
        subject: Subject {
            metric: "disk".to_owned(),
            labels: vec![label("mountpoint", &"\"".repeat(1000))],
        },
        severity: Severity::Alert,
        since_ms: 0,
    };
    let long_reason = format!("{} until the disk has room again", "x".repeat(900));
    let settings = serde_json::json!({
        "identities": [{"match": {"token": "*"}, "roles": ["ops"]}],
        "roles": {"ops": ["*"]},
        "while": [{"metric": "disk", "at_least": "alert", "deny": ["*"], "reason": long_reason}],
    })
    .to_string();
    let reason = denied(&settings, Identity::Token("ci".to_owned()), vec![standing]);
    assert!(reason.ends_with("until the disk has room again"), "{reason}");
}

#[test]
fn settings_that_the_host_would_refuse_are_problems() {
    let check = |settings: serde_json::Value, at: &str| {
        let checked = watchpost_rule::role::check::<Roles>(&settings.to_string(), &actions());
        let problems = checked.map(|plan| plan.metrics).expect_err(at);
        assert!(problems.iter().all(|problem| problem.path == at), "{problems:?}");
    };
    let with = |clause: serde_json::Value| {
        let mut whole = serde_json::json!({"metric": "disk", "at_least": "alert", "deny": ["*"]});
        for (key, value) in clause.as_object().expect("a clause is an object") {
            whole[key] = value.clone();
        }
        serde_json::json!({"identities": [], "roles": {"anonymous": []}, "while": [whole]})
    };
    check(with(serde_json::json!({"metric": "disk-free"})), "/while/0/metric");
    check(with(serde_json::json!({"metric": "1disk"})), "/while/0/metric");
    check(with(serde_json::json!({"metric": ""})), "/while/0/metric");
    check(
        with(serde_json::json!({"labels": {"mount-point": "/"}})),
        "/while/0/labels/mount-point",
    );
    check(with(serde_json::json!({"reason": "x".repeat(1001)})), "/while/0/reason");
    check(with(serde_json::json!({"reason": " "})), "/while/0/reason");

    let named = |name: &str| serde_json::json!({"identities": [], "roles": {name: ["rules.read"]}});
    check(named(&"x".repeat(65)), &format!("/roles/{}", "x".repeat(65)));
    check(named(""), "/roles/");
    check(named("a\nb"), "/roles/a\nb");
    let many = |count: usize| {
        let roles = (0..count).map(|at| (format!("r{at}"), serde_json::json!([])));
        serde_json::json!({"identities": [], "roles": roles.collect::<serde_json::Map<_, _>>()})
    };
    check(many(60), "/roles");
    assert!(watchpost_rule::role::check::<Roles>(&many(59).to_string(), &actions()).is_ok());
    let clauses =
        (0..1001).map(|at| serde_json::json!({"metric": format!("m{at}"), "at_least": "alert", "deny": ["*"]}));
    let clauses: Vec<_> = clauses.collect();
    check(
        serde_json::json!({"identities": [], "roles": {"anonymous": []}, "while": clauses}),
        "/while",
    );
}

fn of_ou(unit: &str, issuer: &str) -> Identity {
    Identity::Certificate(Certificate {
        subject_attributes: vec![label("O", "Watchpost"), label("OU", unit), label("CN", "ada")],
        issuer: issuer.to_owned(),
        ..ada()
    })
}

const DEVELOPMENT_CA: &str = "CN=Watchpost development CA,O=Watchpost";

#[test]
fn a_role_that_the_server_assigns_counts_if_it_is_defined() {
    let token = || Identity::Token("ci".to_owned());
    let decided =
        |assigned: &[&str], settings: &str| decided_with(assigned, settings, token(), "rules.read", Vec::new());
    assert!(decided(&["reader"], "{}").allowed);
    let own = r#"{"roles": {"operator": ["rules.*"]}, "identities": [{"match": {"token": "ci"}, "roles": ["agent"]}]}"#;
    let both = decided(&["operator"], own);
    assert!(both.allowed);
    assert_eq!(both.roles, ["operator", "agent", "anonymous"]);
    assert_eq!(decided(&["anonymous", "anonymous"], "{}").roles, ["anonymous"]);
    let misspelt = decided(&["raeder"], "{}");
    assert!(!misspelt.allowed);
    assert_eq!(
        misspelt.reason,
        "the token ci has no role here, and rules.read needs one; the server assigns raeder, which \
         rules.role.roles does not define"
    );
}

#[test]
fn roles_of_the_settings_extend_the_built_in_ones() {
    let settings = r#"{"roles": {"operator": ["rules.*"], "reader": ["health.read"]}}"#;
    let allowed = |role: &str, action: &str| {
        decided_with(&[role], settings, Identity::Token("ci".to_owned()), action, Vec::new()).allowed
    };
    assert!(allowed("operator", "rules.write"));
    assert!(allowed("admin", "rules.write"), "it is not replaced");
    assert!(allowed("reader", "health.read"));
    assert!(!allowed("reader", "rules.read"), "it is replaced");
}

#[test]
fn an_entry_revokes_no_role_that_the_server_assigns_and_names_alone_give_none() {
    let settings = r#"{
        "identities": [{"match": {"token": "grafana"}, "roles": ["reader"]}],
        "roles": {"night shift": ["rules.read"], "*": ["*"]}
    }"#;
    let roles = |assigned: &[&str], unit: &str| {
        let identity = of_ou(unit, DEVELOPMENT_CA);
        decided_with(assigned, settings, identity, "health.read", Vec::new()).roles
    };
    assert_eq!(roles(&["admin"], "admin"), ["admin", "anonymous"]);
    assert_eq!(roles(&["night shift"], "night shift"), ["night shift", "anonymous"]);
    // An assigned role is compared with names of roles, and is no pattern.
    assert_eq!(roles(&["unknown"], "unknown"), ["anonymous"]);
    assert_eq!(roles(&["anonymous"], "anonymous"), ["anonymous"]);
    assert_eq!(roles(&[], "admin"), ["anonymous"]);
}

#[test]
fn an_action_that_the_host_lacks_is_a_mistake_in_the_settings_only() {
    assert!(!actions().contains(&"metrics.read".to_owned()));
    let check = |settings: &str| watchpost_rule::role::check::<Roles>(settings, &actions());
    assert!(check("{}").is_ok());
    let problems = check(r#"{"roles": {"reader": ["metrics.read"]}}"#).expect_err("refused");
    assert_eq!(problems[0].path, "/roles/reader/0");
}

#[test]
fn the_effective_settings_are_accepted_as_settings_and_mean_the_same() {
    let settings = r#"{
        "identities": [{"match": {"token": "ci"}, "roles": ["ops"]}],
        "roles": {"ops": ["*"]},
        "while": [{"metric": "disk", "at_least": "alert", "deny": ["sessions.run"]}]
    }"#;
    let everything: Vec<String> = [
        "metrics.read",
        "history.read",
        "chunks.read",
        "chunks.write",
        "alerts.read",
    ]
    .iter()
    .chain(&["alerts.silence", "metrics.push", "service.read", "docs.read"])
    .map(|action| (*action).to_owned())
    .chain(actions())
    .collect();
    let plan = |settings: &str| watchpost_rule::role::check::<Roles>(settings, &everything).expect("accepted");
    let first = plan(settings);
    let effective = first.effective_settings.expect("it shows them");
    let shown: serde_json::Value = serde_json::from_str(&effective).expect("it is JSON");
    assert_eq!(shown["roles"]["admin"], serde_json::json!(["*"]));
    assert_eq!(shown["while"][0]["reason"], serde_json::Value::Null);
    let again = plan(&effective);
    assert_eq!(again.settings, first.settings);
    assert_eq!(again.effective_settings, Some(effective));
}

#[test]
fn an_action_that_is_not_in_the_list_of_actions_is_denied() {
    let settings = r#"{"identities": [{"match": {"token": "ci"}, "roles": ["ops"]}], "roles": {"ops": ["*"]}}"#;
    assert!(!decided(settings, Identity::Token("ci".to_owned()), "moon.land", Vec::new()).allowed);
}

#[test]
fn the_schema_knows_every_setting_and_no_other() {
    let schema: serde_json::Value = serde_json::from_str(&Roles::describe().settings_schema).expect("it is JSON");
    let check = |settings: &str, properties: &serde_json::Value| {
        let plan = watchpost_rule::role::check::<Roles>(settings, &actions());
        let unknown = &plan.expect_err("zzz is unknown")[0].message;
        let properties = properties.as_object().expect("it has properties");
        for name in properties.keys() {
            assert!(unknown.contains(&format!("`{name}`")), "{name}: {unknown}");
        }
        assert_eq!(unknown.matches('`').count() / 2, properties.len() + 1, "{unknown}");
    };
    check(r#"{"zzz": 1}"#, &schema["properties"]);
    check(
        r#"{"identities": [{"match": {"zzz": 1}, "roles": []}]}"#,
        &schema["$defs"]["fields"]["properties"],
    );
    let clause = r#"{"while": [{"metric": "a", "at_least": "alert", "deny": ["*"], "zzz": 1}]}"#;
    check(clause, &schema["properties"]["while"]["items"]["properties"]);
}
