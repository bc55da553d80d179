//! Rendered settings: origins, round trips and masked secrets.

use super::Case;

#[test]
fn a_token_in_place_of_its_hash_is_not_repeated() {
    let hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let wrong = [
        "[[tokens]]\nname = \"a\"\nsha256 = \"hunter2\"\n",
        "[[tokens]]\nname = \"a\"\nsha256 = [\"hunter2\"]\n",
        "tokens = \"hunter2\"\n",
        "tokens = [\"hunter2\"]\n",
    ];
    for text in wrong {
        let error = Case::new().toml(text).error();
        assert!(!error.contains("hunter2"), "{error}");
    }
    let right = Case::new().toml(&format!("[[tokens]]\nname = \"a\"\nsha256 = \"{hash}\"\n"));
    let config = right.load();
    assert_eq!(config.tokens[0].sha256.expose().as_bytes()[0], 0x9f);
    for shown in [format!("{config:?}"), config.show()] {
        assert!(!shown.contains("9f86d0") && !shown.contains("159, 134"), "{shown}");
        assert!(shown.contains("********"), "{shown}");
    }
}

#[test]
fn shown_settings_name_their_origin_and_can_be_loaded_again() {
    let case = Case::new()
        .toml("[log]\nmax_files = 7\n[rules.threshold]\n\"a b\" = { c = [1, -1.5, \"x\\ny\\u007f\", {}] }\n")
        .environment([("WATCHPOST_LOG__LEVEL", "debug")])
        .flag("log.format", "json");
    let config = case.load();
    let shown = config.show();
    let file = case.folder.path().join("watchpost.toml");
    let lines = [
        format!("max_files = 7  # {}", file.display()),
        "level = \"debug\"  # environment WATCHPOST_LOG__LEVEL".to_owned(),
        "format = \"json\"  # flag --set log.format".to_owned(),
        "# file = (path)  # default".to_owned(),
        "max_size = \"10MiB\"  # default".to_owned(),
        "[[listeners]]  # default".to_owned(),
        "[rules.limits]".to_owned(),
    ];
    for line in lines {
        assert!(shown.lines().any(|shown| shown == line), "{line}\nis not in\n{shown}");
    }
    let again = Case::new().toml(&shown).load();
    assert_eq!(config.differences(&again), Vec::<String>::new());
    let json = Case::new()
        .environment([("WATCHPOST_RULES__ROLE", r#"{"a": null}"#)])
        .load();
    assert!(
        json.show().contains("# role = {\"a\":null}  # environment"),
        "{}",
        json.show()
    );
    Case::new().toml(&json.show()).load();
}

#[test]
fn differences_are_reported_by_key() {
    let one = Case::new();
    let mut config = one.load();
    let other = Case {
        folder: tempfile::tempdir().expect("a folder"),
        sources: one.sources.clone(),
    };
    assert_eq!(config.differences(&other.load()), Vec::<String>::new());
    let other = other
        .flag("log.max_files", "7")
        .flag("rules.limits.judge_ms", "1")
        .load();
    assert_eq!(config.differences(&other), ["log.max_files", "rules.limits.judge_ms"]);
    let token = |digit: &str| {
        let text = format!("[[tokens]]\nname = \"a\"\nsha256 = \"{}\"\n", digit.repeat(64));
        Case::new().toml(&text).load().tokens.clone()
    };
    let mut changed = config.clone();
    changed.tokens = token("1");
    assert_eq!(config.differences(&changed), ["tokens"]);
    config.tokens = token("2");
    assert_eq!(config.differences(&changed), ["tokens[0].sha256"]);
    changed.tokens = token("2");
    changed.listeners[1].tls = true;
    assert_eq!(config.differences(&changed), ["listeners[1].tls"]);
}
