//! Rejected configurations and their error messages.

use std::time::Duration;

use super::Case;

#[test]
fn the_errors_of_all_layers_are_reported_at_once() {
    let errors = Case::new()
        .toml(
            "surprise = 1\n[server]\nworkers = 0\ndrain_timeout = 30\n[log]\nlevle = \"info\"\nformat = \"xml\"\n\
             [[listeners]]\naddress = \"localhost\"\ntls = \"yes\"\nclient_ath = \"off\"\n[[listeners]]\n",
        )
        .environment([("WATCHPOST_LOG__MAX_FILES", "many"), ("WATCHPOST_LOG_LEVEL", "info")])
        .flag("collector.interval", "2h")
        .flag("log.colour", "red")
        .errors();
    let expected = [
        "watchpost.toml: log.levle: unknown setting; did you mean level?",
        "watchpost.toml: surprise: unknown setting; known settings here are mode, server, listeners, ",
        "environment WATCHPOST_LOG_LEVEL: unknown variable; did you mean WATCHPOST_LOG__LEVEL?",
        "flag --set log.colour: unknown setting; ",
        "watchpost.toml: server.workers: 0 was given; write a value from 1 to 512",
        "watchpost.toml: server.drain_timeout: 30 has no unit; write \"30s\" for seconds",
        "watchpost.toml: listeners[0].client_ath: unknown setting; did you mean client_auth?",
        "watchpost.toml: listeners[0].address: \"localhost\" was given; write an IP address and a port",
        "watchpost.toml: listeners[0].tls: \"yes\" was given; write true or false",
        "watchpost.toml: listeners[1].address: missing; write an IP address and a port",
        "watchpost.toml: log.format: \"xml\" was given; write \"text\" or \"json\"",
        "environment WATCHPOST_LOG__MAX_FILES: log.max_files: \"many\" was given; write a non-negative integer",
        "flag --set collector.interval: collector.interval: \"2h\" was given; write a value from 100ms to 1h",
    ];
    for start in expected {
        assert!(
            errors.iter().any(|error| error.starts_with(start)),
            "{start}\nis not in\n{errors:#?}"
        );
    }
    assert_eq!(errors.len(), expected.len(), "{errors:#?}");
}

#[test]
fn a_schedule_for_an_unknown_source_is_reported_with_the_known_names() {
    let error = Case::new()
        .toml(
            "[[collector.sources]]\nname = \"host.memory\"\ninterval = \"1m\"\n\
             [[collector.sources]]\nname = \"host.memroy\"\ninterval = \"1m\"\n",
        )
        .error();
    let expected =
        "watchpost.toml: collector.sources[1].name: \"host.memroy\" is not a source; write one of host.cpu, ";
    assert!(error.starts_with(expected), "{error}");
    let config = Case::new()
        .toml("[[collector.sources]]\nname = \"host.memory\"\ninterval = \"1m\"\n")
        .load();
    let own = config.collector.schedules()["host.memory"];
    assert_eq!((own.schedule.interval.as_secs(), own.has_own_interval), (60, true));
    assert_eq!(
        own.schedule.timeout, config.collector.timeout,
        "what is not set is the usual one"
    );
    let config = Case::new()
        .toml("[[collector.sources]]\nname = \"host.memory\"\ntimeout = \"1s\"\n")
        .load();
    let own = config.collector.schedules()["host.memory"];
    assert_eq!((own.schedule.timeout.as_secs(), own.has_own_interval), (1, false));
}

#[test]
fn scrapes_measure_nothing_with_a_maximum_age_of_the_interval_or_more() {
    let refresh_max_age = |max_age: &str| {
        let toml = format!("[collector]\ninterval = \"10s\"\nmax_age = \"{max_age}\"\n");
        Case::new().toml(&toml).load().collector.refresh_max_age()
    };
    assert_eq!(refresh_max_age("0s"), Some(Duration::ZERO));
    assert_eq!(refresh_max_age("9s"), Some(Duration::from_secs(9)));
    assert_eq!(refresh_max_age("10s"), None);
    assert_eq!(refresh_max_age("1h"), None);
}

#[test]
fn an_unreadable_file_is_reported_with_the_other_errors() {
    let case = Case::new()
        .toml("[log\n")
        .environment([("WATCHPOST_LOG__MAX_FILES", "0")]);
    let errors = case.errors();
    assert!(
        errors[0].starts_with("watchpost.toml: line 1 is not TOML: "),
        "{errors:?}"
    );
    assert!(
        errors[1].starts_with("environment WATCHPOST_LOG__MAX_FILES: log.max_files: "),
        "{errors:?}"
    );
    let check = |name: &str, text: &str, expected: &str| {
        let error = Case::new().file(name, text).error();
        assert!(error.contains(expected), "{error}");
    };
    check("watchpost.json", "{}", "use a name that ends in .toml");
    check("watchpost", "", "use a name that ends in .toml");
    check("watchpost.yaml", "- 1\n", "not a table");
    check(
        "watchpost.yaml",
        "log: 5\n",
        "log: a number was given; write a table of settings",
    );
    let mut missing = Case::new();
    missing.sources.file = Some(missing.folder.path().join("absent.toml"));
    assert!(missing.error().contains("cannot read the file"), "{}", missing.error());
}

#[test]
fn contradictory_settings_are_rejected() {
    let check = |text: &str, expected: &str| {
        let error = Case::new().toml(text).error();
        assert!(error.starts_with(&format!("watchpost.toml: {expected}")), "{error}");
    };
    let listener = "[[listeners]]\naddress = \"127.0.0.1:1\"\n";
    check(
        &format!("{listener}tls = false\nclient_auth = \"required\""),
        "listeners[0].client_auth: client certificates need TLS",
    );
    check(
        &format!("{listener}{listener}"),
        "listeners[1].address: 127.0.0.1:1 is used twice",
    );
    check("listeners = []", "listeners: no listeners");
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
    check("[server]\nhostname = \" \"", "server.hostname: the name is empty");
    Case::new().toml("[http]\nrequests_per_second = 0\nburst = 0").load();
    let any = "[[listeners]]\naddress = \"127.0.0.1:0\"\n";
    Case::new()
        .toml(&format!("{any}{any}tls = false\nclient_auth = \"off\""))
        .load();
}

#[test]
fn rule_limits_are_checked_by_the_engine() {
    let case = Case::new().toml("[rules.limits]\ninstances = 0\nstack_bytes = \"1GiB\"\n");
    let errors = case.errors();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors[0].starts_with("watchpost.toml: rules.limits.instances: the limit instances is 0; "));
    assert!(errors[1].starts_with("watchpost.toml: rules.limits.stack_bytes: the limit stack_bytes is 1073741824; "));
}

#[test]
fn elements_of_lists_and_maps_cannot_be_set_individually() {
    let check = |variable: &str, expected: &str| {
        let error = Case::new().environment([(variable, "x")]).error();
        assert!(error.contains(expected), "{error}");
    };
    check(
        "WATCHPOST_LISTENERS__0__ADDRESS",
        "set WATCHPOST_LISTENERS to the whole value as JSON",
    );
    check(
        "WATCHPOST_RULES__THRESHOLD__CPU",
        "set WATCHPOST_RULES__THRESHOLD to the whole value as JSON",
    );
    check(
        "WATCHPOST_LOG",
        "this is a section; set one of its settings, such as WATCHPOST_LOG__",
    );
    check("WATCHPOST_LISTENERS", "a list of tables; write it as JSON");
    check("WATCHPOST_TOKENS", "a list of tables; write it as JSON");
    let mut case = Case::new().environment([("WATCHPOST_CONFIG", "x")]);
    assert!(case.error().contains("unknown variable"));
    case.sources.reserved_variables = vec!["WATCHPOST_CONFIG".to_owned()];
    case.load();
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_utf8_is_rejected() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    let mut case = Case::new();
    let value = OsString::from_vec(vec![0xff]);
    case.sources.environment = [("WATCHPOST_LOG__LEVEL", value)].into_iter().collect();
    assert!(case.error().contains("UTF-8"));
}

#[test]
fn names_and_hashes_of_tokens_are_unique() {
    let token = |name: &str, digit: &str| format!("[[tokens]]\nname = \"{name}\"\nsha256 = \"{}\"\n", digit.repeat(64));
    let check = |text: String, expected: &str| {
        let error = Case::new().toml(&text).error();
        assert!(error.contains(expected), "{error}");
    };
    check(
        token("a", "0") + &token("a", "1"),
        "tokens[1].name: \"a\" is already the name of a token",
    );
    check(
        token("a", "1") + &token("b", "1"),
        "tokens[1].sha256: same token as \"a\"",
    );
    check(token("a b", "0"), "tokens[0].name: \"a b\" was given");
    let with_roles = |count: usize| {
        let roles: Vec<_> = (0..count).map(|at| format!("\"r{at}\"")).collect();
        token("a", "1") + &format!("roles = [{}]\n", roles.join(", "))
    };
    check(with_roles(17), "tokens[0].roles: 17 roles were given; write at most 16");
    assert_eq!(Case::new().toml(&with_roles(16)).load().tokens[0].roles.len(), 16);
    check(
        token("a", "1") + "roles = [\"\"]\n",
        "tokens[0].roles[0]: \"\" was given; write the name of a role",
    );
    // The placeholder of the documentation may stand for several tokens.
    assert_eq!(
        Case::new()
            .toml(&(token("a", "0") + &token("b", "0")))
            .load()
            .tokens
            .len(),
        2
    );
    check(token("", "0"), "tokens[0].name: \"\" was given");
}
