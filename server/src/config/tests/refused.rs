//! What is refused, and in which words.

use super::Case;

#[test]
fn all_mistakes_of_all_layers_are_told_at_once() {
    let mistakes = Case::new()
        .toml(
            "surprise = 1\n[server]\nworkers = 0\ndrain_timeout = 30\n[log]\nlevle = \"info\"\nformat = \"xml\"\n\
             [[listeners]]\naddress = \"localhost\"\ntls = \"yes\"\nclient_ath = \"off\"\n[[listeners]]\n",
        )
        .environment([("WATCHPOST_LOG__MAX_FILES", "many"), ("WATCHPOST_LOG_LEVEL", "info")])
        .flag("collector.interval", "2h")
        .flag("log.colour", "red")
        .mistakes();
    let expected = [
        "watchpost.toml: log.levle: there is no such setting; did you mean level?",
        "watchpost.toml: surprise: there is no such setting; known here are mode, server, listeners, ",
        "environment WATCHPOST_LOG_LEVEL: no setting is called so; did you mean WATCHPOST_LOG__LEVEL?",
        "flag --log.colour: there is no such setting; ",
        "watchpost.toml: server.workers: 0 was given; write a value from 1 to 512",
        "watchpost.toml: server.drain_timeout: 30 has no unit; write \"30s\" if seconds are meant",
        "watchpost.toml: listeners[0].client_ath: there is no such setting; did you mean client_auth?",
        "watchpost.toml: listeners[0].address: \"localhost\" was given; write an IP address and a port",
        "watchpost.toml: listeners[0].tls: \"yes\" was given; write true or false",
        "watchpost.toml: listeners[1].address: it is missing; write an IP address and a port",
        "watchpost.toml: log.format: \"xml\" was given; write \"text\" or \"json\"",
        "environment WATCHPOST_LOG__MAX_FILES: log.max_files: \"many\" was given; write a whole number",
        "flag --collector.interval: collector.interval: \"2h\" was given; write a value from 100ms to 1h",
    ];
    for start in expected {
        assert!(
            mistakes.iter().any(|told| told.starts_with(start)),
            "{start}\nis not in\n{mistakes:#?}"
        );
    }
    assert_eq!(mistakes.len(), expected.len(), "{mistakes:#?}");
}

#[test]
fn a_file_that_cannot_be_read_is_told_with_the_rest() {
    let case = Case::new()
        .toml("[log\n")
        .environment([("WATCHPOST_LOG__MAX_FILES", "0")]);
    let mistakes = case.mistakes();
    assert!(
        mistakes[0].starts_with("watchpost.toml: line 1 is not TOML: "),
        "{mistakes:?}"
    );
    assert!(
        mistakes[1].starts_with("environment WATCHPOST_LOG__MAX_FILES: log.max_files: "),
        "{mistakes:?}"
    );
    let check = |name: &str, text: &str, expected: &str| {
        let told = Case::new().file(name, text).mistake();
        assert!(told.contains(expected), "{told}");
    };
    check("watchpost.json", "{}", "let it end in .toml");
    check("watchpost", "", "let it end in .toml");
    check("watchpost.yaml", "- 1\n", "not a table");
    check(
        "watchpost.yaml",
        "log: 5\n",
        "log: a number was given; write a table of settings",
    );
    let mut missing = Case::new();
    missing.sources.file = Some(missing.folder.path().join("absent.toml"));
    assert!(missing.mistake().contains("cannot be read"), "{}", missing.mistake());
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    let check = |text: &str, expected: &str| {
        let told = Case::new().toml(text).mistake();
        assert!(told.starts_with(&format!("watchpost.toml: {expected}")), "{told}");
    };
    let listener = "[[listeners]]\naddress = \"127.0.0.1:1\"\n";
    check(
        &format!("{listener}tls = false\nclient_auth = \"required\""),
        "listeners[0].client_auth: certificates need TLS",
    );
    check(
        &format!("{listener}{listener}"),
        "listeners[1].address: 127.0.0.1:1 is listened at twice",
    );
    check("listeners = []", "listeners: nobody could reach the server");
    check(
        "[tls]\ncertificate = \"a\"",
        "tls.certificate: a certificate needs its private key",
    );
    check("[tls]\nkey = \"a\"", "tls.key: a private key needs its certificate");
    check("[http]\nburst = 10", "http.burst: http.burst is 10 and");
    check(
        "[http]\nrequests_per_second = 500",
        "http.requests_per_second: http.burst is 400 and",
    );
    check("[server]\nhostname = \" \"", "server.hostname: it is empty");
    Case::new().toml("[http]\nrequests_per_second = 0\nburst = 0").load();
    let any = "[[listeners]]\naddress = \"127.0.0.1:0\"\n";
    Case::new()
        .toml(&format!("{any}{any}tls = false\nclient_auth = \"off\""))
        .load();
}

#[test]
fn limits_of_rules_are_held_to_what_the_engine_takes() {
    let case = Case::new().toml("[rules.limits]\ninstances = 0\nstack_bytes = \"1GiB\"\n");
    let mistakes = case.mistakes();
    assert_eq!(mistakes.len(), 2, "{mistakes:?}");
    assert!(mistakes[0].starts_with("watchpost.toml: rules.limits.instances: the limit instances is 0; "));
    assert!(mistakes[1].starts_with("watchpost.toml: rules.limits.stack_bytes: the limit stack_bytes is 1073741824; "));
}

#[test]
fn what_is_inside_a_list_or_a_free_table_is_not_set_alone() {
    let check = |variable: &str, expected: &str| {
        let told = Case::new().environment([(variable, "x")]).mistake();
        assert!(told.contains(expected), "{told}");
    };
    check("WATCHPOST_LISTENERS__0__ADDRESS", "as JSON into WATCHPOST_LISTENERS");
    check(
        "WATCHPOST_RULES__THRESHOLD__CPU",
        "as JSON into WATCHPOST_RULES__THRESHOLD",
    );
    check(
        "WATCHPOST_LOG",
        "this is a section; set what is in it, such as WATCHPOST_LOG__",
    );
    check("WATCHPOST_LISTENERS", "it is a list of tables; write it as JSON");
    check("WATCHPOST_TOKENS", "it is a list of tables; write it as JSON");
    let mut case = Case::new().environment([("WATCHPOST_CONFIG", "x")]);
    assert!(case.mistake().contains("no setting is called so"));
    case.sources.others_variables = vec!["WATCHPOST_CONFIG".to_owned()];
    case.load();
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_text_is_refused() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    let mut case = Case::new();
    let value = OsString::from_vec(vec![0xff]);
    case.sources.environment = [("WATCHPOST_LOG__LEVEL", value)].into_iter().collect();
    assert!(case.mistake().contains("UTF-8"));
}

#[test]
fn tokens_are_told_apart() {
    let token = |name: &str, digit: &str| format!("[[tokens]]\nname = \"{name}\"\nsha256 = \"{}\"\n", digit.repeat(64));
    let check = |text: String, expected: &str| {
        let told = Case::new().toml(&text).mistake();
        assert!(told.contains(expected), "{told}");
    };
    check(
        token("a", "0") + &token("a", "1"),
        "tokens[1].name: \"a\" names an earlier token",
    );
    check(
        token("a", "0") + &token("b", "0"),
        "tokens[1].sha256: it is the token of \"a\"",
    );
    check(token("a b", "0"), "tokens[0].name: \"a b\" was given");
    check(token("", "0"), "tokens[0].name: \"\" was given");
}
