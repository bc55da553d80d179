//! Tests of `watchpost certs` without a process.

use std::fs;

use clap::{CommandFactory, Parser};

use super::*;

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    certs: CertsCommand,
}

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().expect("a time")
}

fn roles() -> BTreeSet<String> {
    ["admin", "agent", "operator", "reader", "user"]
        .map(str::to_owned)
        .into()
}

fn try_run(data: &Path, arguments: &[&str]) -> Result<String, CertsError> {
    try_run_at(now(), data, arguments)
}

fn try_run_at(now: Timestamp, data: &Path, arguments: &[&str]) -> Result<String, CertsError> {
    let all = ["certs"].iter().chain(arguments);
    let program = Program::try_parse_from(all).expect("legal arguments");
    let mut out = Vec::new();
    run(program.certs, data, &roles(), now, &mut out)?;
    Ok(String::from_utf8(out).expect("text"))
}

fn output(data: &Path, arguments: &[&str]) -> String {
    try_run(data, arguments).expect("done")
}

#[test]
fn the_command_line_is_well_formed() {
    Program::command().debug_assert();
    assert!(Program::try_parse_from(["certs", "issue", "a", "--role", "b", "--days", "826"]).is_err());
    assert!(Program::try_parse_from(["certs", "issue", "a", "--role", "b", "--days", "0"]).is_err());
    assert!(Program::try_parse_from(["certs", "issue", "a"]).is_err());
}

#[test]
fn init_creates_all_files_that_it_prints_and_can_be_repeated() {
    let data = tempfile::tempdir().expect("a folder");
    let first = output(data.path(), &["init"]);
    let paths = first
        .split_whitespace()
        .filter(|word| word.starts_with(data.path().to_str().expect("text")));
    assert_eq!(paths.clone().count(), 1 + 2 + 8 + 1 + 3);
    for path in paths {
        assert!(Path::new(path).is_file(), "{path}");
    }
    let key = data.path().join("pki/clients/admin.key");
    let before = fs::read(&key).expect("a key");
    assert_eq!(output(data.path(), &["init"]), first);
    assert_eq!(fs::read(&key).expect("a key"), before);
}

#[test]
fn a_client_is_issued_listed_and_revoked() {
    let data = tempfile::tempdir().expect("a folder");
    output(data.path(), &["init"]);
    let issued = output(data.path(), &["issue", "ada", "--role", "reader", "--days", "10"]);
    assert!(issued.contains("ada has the role reader until 2026-03-11"), "{issued}");
    let certificate = data.path().join("pki/clients/ada.crt");
    assert!(
        issued.contains(&format!("--cert {}", certificate.display())),
        "{issued}"
    );
    assert!(issued.contains("https://localhost:8443/api/v1/whoami"), "{issued}");

    let again = try_run(data.path(), &["issue", "ada", "--role", "reader"]).expect_err("refused");
    assert!(again.to_string().contains("watchpost certs revoke ada"), "{again}");

    let revoked = output(data.path(), &["revoke", "ada"]);
    assert!(revoked.starts_with("ada is revoked, serial "), "{revoked}");
    let table = output(data.path(), &["list"]);
    let row = table.lines().find(|line| line.starts_with("ada ")).expect("a row");
    assert!(row.ends_with("2026-03-11  revoked on 2026-03-01"), "{table}");
    assert_eq!(
        table.lines().filter(|line| line.ends_with("  valid")).count(),
        5,
        "{table}"
    );

    let json: serde_json::Value = serde_json::from_str(&output(data.path(), &["list", "--json"])).expect("JSON");
    let ada = json
        .as_array()
        .expect("a list")
        .iter()
        .find(|entry| entry["name"] == "ada");
    let ada = ada.expect("ada is listed");
    assert_eq!(ada["role"], "reader");
    assert_eq!(ada["not_after"], "2026-03-11T12:00:00Z");
    assert_eq!(ada["revoked_at"], "2026-03-01T12:00:00Z");
}

#[test]
fn a_pkcs12_file_has_the_certificate_the_key_and_the_authority() {
    use std::os::unix::fs::PermissionsExt;

    let data = tempfile::tempdir().expect("a folder");
    output(data.path(), &["init"]);
    let file = data.path().join("ada.p12");
    let path = file.to_str().expect("text");
    for (arguments, cipher) in [
        (
            &["issue", "ada", "--role", "reader", "--pkcs12", path][..],
            "AES-256-CBC",
        ),
        (&["export", "ada", path, "--legacy-encryption"], "3-KeyTripleDES-CBC"),
    ] {
        let issued = output(data.path(), arguments);
        let password = issued.lines().find_map(|line| line.strip_prefix("password     "));
        let password = password.expect("it prints the password");
        assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
        let bytes = fs::read(&file).expect("a file");
        let parsed = openssl::pkcs12::Pkcs12::from_der(&bytes).expect("PKCS #12");
        assert!(parsed.parse2("wrong").is_err(), "another password decrypts it");
        let parsed = parsed.parse2(password).expect("the password decrypts it");
        let (certificate, key) = (parsed.cert.expect("a certificate"), parsed.pkey.expect("a key"));
        assert!(certificate.public_key().expect("a key").public_eq(&key));
        let pem = fs::read(data.path().join("pki/clients/ada.crt")).expect("a certificate");
        assert_eq!(certificate.to_pem().expect("PEM"), pem);
        assert_eq!(parsed.ca.map(|authorities| authorities.len()), Some(1));
        let info = std::process::Command::new("openssl")
            .args([
                "pkcs12",
                "-info",
                "-noout",
                "-passin",
                &format!("pass:{password}"),
                "-in",
                path,
            ])
            .output()
            .expect("openssl runs");
        let info = String::from_utf8_lossy(&info.stderr).into_owned();
        assert!(info.contains(cipher), "{info}");
        let again = try_run(data.path(), &["export", "ada", path]).expect_err("the file exists");
        assert!(again.to_string().contains("name a file that does not exist"), "{again}");
        assert_eq!(fs::read(&file).expect("a file"), bytes, "it is not overwritten");
        fs::remove_file(&file).expect("removed");
    }
    try_run(data.path(), &["export", "eve", path]).expect_err("there is no such client");
    assert!(!file.exists(), "nothing is left of a failed export");
}

#[test]
fn a_revoked_or_expired_certificate_is_not_exported() {
    let data = tempfile::tempdir().expect("a folder");
    output(data.path(), &["init"]);
    let file = data.path().join("ada.p12");
    let path = file.to_str().expect("text");
    let issue = || output(data.path(), &["issue", "ada", "--role", "reader", "--days", "10"]);
    let refused = |days: i64, reason: &str| {
        let later = now() + SignedDuration::from_hours(24 * days);
        let error = try_run_at(later, data.path(), &["export", "ada", path]).expect_err("refused");
        assert!(error.is_usage(), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
        assert!(!file.exists());
    };
    issue();
    refused(10, "the certificate of ada has expired");
    output(data.path(), &["revoke", "ada"]);
    refused(1, "the certificate of ada was revoked");
    // A new certificate of the same client is not revoked.
    issue();
    let before = now() + SignedDuration::from_hours(24 * 10 - 1);
    try_run_at(before, data.path(), &["export", "ada", path]).expect("it is valid");
    assert!(file.exists());
}

#[test]
fn a_certificate_is_issued_only_for_a_role_that_exists() {
    let data = tempfile::tempdir().expect("a folder");
    output(data.path(), &["init"]);
    let refused = |arguments: &[&str]| {
        let error = try_run(data.path(), arguments).expect_err("refused");
        assert!(error.is_usage(), "{error}");
        error.to_string()
    };
    let unknown = refused(&["issue", "bob", "--role", "raeder"]);
    assert!(
        unknown.starts_with("there is no role raeder; did you mean reader? The roles are admin, "),
        "{unknown}"
    );
    assert!(!refused(&["issue", "bob", "--role", "superhero"]).contains("did you mean"));
    assert!(!data.path().join("pki/clients/bob.crt").exists());
    output(data.path(), &["issue", "olga", "--role", "operator"]);
    output(
        data.path(),
        &["issue", "bob", "--role", "superhero", "--allow-unknown-role"],
    );
}

#[test]
fn a_command_that_asks_for_the_impossible_is_a_usage_error() {
    let data = tempfile::tempdir().expect("a folder");
    let is_usage = |arguments: &[&str]| try_run(data.path(), arguments).expect_err("refused").is_usage();
    assert!(!is_usage(&["list"]), "the folder is missing");
    output(data.path(), &["init"]);
    assert!(is_usage(&["issue", "al ice", "--role", "user"]));
    assert!(is_usage(&["issue", "admin", "--role", "admin"]));
    assert!(is_usage(&["revoke", "unknown"]));
    let server = try_run(data.path(), &["issue", "localhost", "--role", "admin"]).expect_err("refused");
    assert!(
        server.is_usage() && server.to_string().contains("the server's own certificate"),
        "{server}"
    );
    std::fs::write(data.path().join("pki/ca.crt"), "damaged").expect("written");
    assert!(!is_usage(&["list"]));
}

#[test]
fn a_revoked_client_is_not_issued_again_by_init() {
    let data = tempfile::tempdir().expect("a folder");
    output(data.path(), &["init"]);
    output(data.path(), &["revoke", "agent"]);
    let answer = output(data.path(), &["init"]);
    assert!(
        answer.contains("`watchpost certs issue agent --role agent`"),
        "{answer}"
    );
    output(data.path(), &["issue", "agent", "--role", "agent"]);
    assert!(!output(data.path(), &["init"]).contains("revoked; "));
}

#[test]
fn a_short_lived_certificate_or_another_role_is_not_renewed() {
    let data = tempfile::tempdir().expect("a folder");
    output(data.path(), &["init"]);
    output(data.path(), &["issue", "ada", "--role", "reader", "--days", "10"]);
    let renewed = |name: &str, role: &str| try_run(data.path(), &["issue", name, "--role", role, "--renew"]);
    let other = renewed("ada", "admin").expect_err("it has another role").to_string();
    assert!(other.contains("has the role reader"), "{other}");
    let short = renewed("ada", "reader")
        .expect_err("it expires in ten days")
        .to_string();
    assert!(
        short.contains("is not renewed because it was issued for a short time"),
        "{short}"
    );
    assert!(renewed("ben", "reader").expect("it is new").contains("is issued"));
}

#[test]
fn a_certificate_is_renewed_in_the_month_before_it_expires() {
    let data = tempfile::tempdir().expect("a folder");
    output(data.path(), &["init"]);
    let renewed = |later_days: i64| {
        let arguments = ["certs", "issue", "prometheus", "--role", "reader", "--renew"];
        let program = Program::try_parse_from(arguments).expect("legal arguments");
        let now = now() + jiff::SignedDuration::from_hours(24 * later_days);
        let mut out = Vec::new();
        run(program.certs, data.path(), &roles(), now, &mut out).map(|()| String::from_utf8(out).expect("text"))
    };
    let certificate = data.path().join("pki/clients/prometheus.crt");
    let read = || fs::read(&certificate).expect("a certificate");
    assert!(renewed(0).expect("done").contains("is issued\n"));
    let first = read();
    let days = i64::from(DEFAULT_DAYS);
    assert!(renewed(days - 31).expect("done").contains("is kept"));
    assert_eq!(read(), first);
    assert!(renewed(days - 29).expect("done").contains("is renewed"));
    assert_ne!(read(), first);
    output(data.path(), &["revoke", "prometheus"]);
    let refused = renewed(days).expect_err("only a person issues it again");
    assert!(refused.to_string().contains("is not renewed"), "{refused}");
}

#[test]
fn only_init_creates_an_authority() {
    let data = tempfile::tempdir().expect("a folder");
    for arguments in [&["list"][..], &["revoke", "a"], &["issue", "a", "--role", "user"]] {
        let refused = try_run(data.path(), arguments).expect_err("refused");
        assert!(refused.to_string().contains("watchpost certs init"), "{refused}");
    }
    assert!(!data.path().join("pki").exists());
}

#[test]
fn the_columns_of_the_table_are_aligned() {
    let issued = |name: &str, role: Option<&str>| Issued {
        name: name.to_owned(),
        role: role.map(str::to_owned),
        serial: "7F".to_owned(),
        not_after: now(),
        revoked_at: None,
    };
    let table = as_table(&[issued("a-long-name", Some("r")), issued("b", None)], now());
    assert_eq!(
        table,
        "NAME         ROLE  SERIAL  EXPIRES     STATE\n\
         a-long-name  r     7F      2026-03-01  expired\n\
         b            -     7F      2026-03-01  expired\n"
    );
}
