//! `watchpost check` and the start, compared: what one refuses, the other refuses for the same reason.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::{X509, X509NameBuilder};
use serde_json::Value;
use watchpost_tests::server::{Server, command};
use watchpost_tests::template;

const DAY: i64 = 24 * 60 * 60;

/// A folder with a self-signed certificate for each purpose and its key.
struct Case {
    folder: tempfile::TempDir,
}

impl Case {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let case = Self { folder };
        case.certificate("server", -1, 365);
        case.certificate("ca", -1, 365);
        case
    }

    /// Writes `NAME.crt` and `NAME.key`, valid from and until these days after now.
    fn certificate(&self, name: &str, from: i64, until: i64) {
        let key = key();
        let certificate = certificate(&key, from, until);
        self.write(&format!("{name}.crt"), certificate.to_pem().expect("PEM"));
        self.write(&format!("{name}.key"), key.private_key_to_pem_pkcs8().expect("PEM"));
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.folder.path().join(name), content).expect("written");
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The problems that `check --json` prints, and its exit code.
    fn checked(&self) -> (Option<i32>, Vec<Value>) {
        let output = self.run(&["check", "--json"]);
        let problems = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        (output.status.code(), problems)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        command(self.path()).args(arguments).output().expect("it runs")
    }
}

fn key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a curve");
    PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key")
}

fn certificate(key: &PKey<Private>, from: i64, until: i64) -> X509 {
    let now = watchpost::clock::now().as_second();
    let at = |days: i64| Asn1Time::from_unix(now + days * DAY).expect("a time");
    let mut name = X509NameBuilder::new().expect("a name");
    name.append_entry_by_text("CN", "localhost").expect("a name");
    let name = name.build();
    let serial = BigNum::from_u32(1)
        .and_then(|number| number.to_asn1_integer())
        .expect("a number");
    let mut builder = X509::builder().expect("a certificate");
    builder.set_version(2).expect("a version");
    builder.set_serial_number(&serial).expect("a number");
    builder.set_subject_name(&name).expect("a name");
    builder.set_issuer_name(&name).expect("a name");
    builder.set_pubkey(key).expect("a key");
    builder.set_not_before(&at(from)).expect("a time");
    builder.set_not_after(&at(until)).expect("a time");
    builder.sign(key, MessageDigest::sha256()).expect("signed");
    builder.build()
}

const TLS: &str = "[tls]\ncertificate = \"server.crt\"\nkey = \"server.key\"\nclient_ca = \"ca.crt\"\n";

/// Configures a server, and verifies that the check and the start report the same error.
#[track_caller]
fn both_refuse(settings: &str, prepare: impl FnOnce(&Case), key: &str, parts: &[&str], start_code: i32) {
    let case = Case::new();
    prepare(&case);
    let settings = settings.replace("{folder}", &case.path().display().to_string());
    let listeners = if settings.contains("listeners") {
        ""
    } else {
        "listeners = [{ address = \"127.0.0.1:0\" }]\n"
    };
    case.write("watchpost.toml", format!("{listeners}{settings}"));
    let (code, problems) = case.checked();
    let error = problems.iter().find(|problem| problem["severity"] == "error");
    let error = error.unwrap_or_else(|| panic!("no error for {settings}: {problems:?}"));
    assert_eq!(code, Some(78), "{problems:?}");
    let text = |field: &str| error[field].as_str().expect("text").to_owned();
    let (place, message, remedy) = (text("where"), text("message"), text("remedy"));
    assert!(place.contains(key), "{key}: {error}");
    assert!(!remedy.is_empty(), "{error}");
    for part in parts {
        assert!(message.contains(part), "{part}: {error}");
    }
    let started = case.run(&["serve"]);
    let output = String::from_utf8_lossy(&started.stderr);
    assert_eq!(started.status.code(), Some(start_code), "{output}");
    assert!(
        output.contains(&message),
        "the start says\n{output}\nand the check\n{error}"
    );
    for internal in ["error:0", ".c:", "untagged enum", "ErrorStack"] {
        assert!(!output.contains(internal), "{output}");
    }
}

#[test]
fn unusable_certificates_keys_and_authorities_are_refused_by_check_and_start() {
    let tls = |prepare: &dyn Fn(&Case), key: &str, parts: &[&str]| both_refuse(TLS, prepare, key, parts, 78);
    let remove = |name: &'static str| move |case: &Case| fs::remove_file(case.path().join(name)).expect("removed");
    tls(
        &remove("server.crt"),
        "watchpost.toml: tls.certificate",
        &["cannot read", "server.crt"],
    );
    tls(
        &remove("server.key"),
        "watchpost.toml: tls.key",
        &["cannot read", "server.key"],
    );
    tls(
        &remove("ca.crt"),
        "watchpost.toml: tls.client_ca",
        &["cannot read", "ca.crt"],
    );
    let foreign = |case: &Case| drop(fs::copy(case.path().join("ca.key"), case.path().join("server.key")));
    tls(&foreign, "tls.key", &["does not belong to the certificate"]);
    let swapped = |case: &Case| {
        let [certificate, key] =
            ["server.crt", "server.key"].map(|name| fs::read(case.path().join(name)).expect("read"));
        case.write("server.crt", key);
        case.write("server.key", certificate);
    };
    tls(&swapped, "tls.certificate", &["does not contain a certificate"]);
    for (name, key) in [
        ("server.crt", "tls.certificate"),
        ("server.key", "tls.key"),
        ("ca.crt", "tls.client_ca"),
    ] {
        tls(
            &|case: &Case| case.write(name, "nonsense"),
            key,
            &["does not contain a"],
        );
        tls(&|case: &Case| case.write(name, ""), key, &["does not contain a"]);
    }
    let crl = format!("{TLS}crl = \"crl.pem\"\n");
    both_refuse(&crl, |_| {}, "tls.crl", &["cannot read", "crl.pem"], 78);
    both_refuse(
        &crl,
        |case| case.write("crl.pem", ""),
        "tls.crl",
        &["revocation list"],
        78,
    );
}

/// The start may succeed later without another configuration, so systemd repeats it.
#[test]
fn a_certificate_that_has_expired_is_refused_by_check_and_start() {
    let expired = |case: &Case| case.certificate("server", -30, -2);
    both_refuse(TLS, expired, "tls.certificate", &["expired at"], 69);
    let authority = |case: &Case| case.certificate("ca", -30, -2);
    both_refuse(TLS, authority, "tls.client_ca", &["CA certificate", "expired at"], 69);
}

#[test]
fn a_certificate_that_expires_soon_is_a_warning_and_the_server_starts() {
    let case = Case::new();
    case.certificate("server", -30, 10);
    case.write(
        "watchpost.toml",
        format!("listeners = [{{ address = \"127.0.0.1:0\" }}, {{ address = \"127.0.0.1:0\", tls = false }}]\n{TLS}"),
    );
    let (code, problems) = case.checked();
    assert_eq!(code, Some(0), "{problems:?}");
    let expires = |problem: &&Value| {
        problem["message"]
            .as_str()
            .is_some_and(|text| text.contains("expires at"))
    };
    let expiring: Vec<_> = problems.iter().filter(expires).collect();
    assert_eq!(expiring.len(), 1, "{problems:?}");
    assert_eq!(expiring[0]["severity"], "warning");
    let output = case.run(&["check"]);
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("[tls]"),
        "the settings are printed too"
    );
    assert!(String::from_utf8_lossy(&output.stderr).contains("watchpost: warning: "));
    Server::prepared(case.folder).ready();
}

#[test]
fn a_private_key_that_every_user_can_read_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;

    let case = Case::new();
    case.write(
        "watchpost.toml",
        format!("listeners = [{{ address = \"127.0.0.1:0\" }}, {{ address = \"127.0.0.1:0\", tls = false }}]\n{TLS}"),
    );
    let set = |path: &Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the mode is set");
    };
    set(case.path(), 0o755);
    let key = case.path().join("server.key");
    let warnings = |mode: u32| {
        set(&key, mode);
        let (code, problems) = case.checked();
        assert_eq!(code, Some(0), "{problems:?}");
        let of_key = |problem: &Value| {
            problem["where"]
                .as_str()
                .is_some_and(|place| place.ends_with("tls.key"))
        };
        problems.into_iter().filter(of_key).collect::<Vec<_>>()
    };
    let found = warnings(0o644);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["severity"], "warning");
    assert!(
        found[0]["remedy"]
            .as_str()
            .is_some_and(|text| text.contains("chmod o-r")),
        "{found:?}"
    );
    assert_eq!(warnings(0o640), [] as [Value; 0]);
}

#[test]
fn unusable_directories_addresses_and_databases_are_refused_by_check_and_start() {
    let file = "[log]\nfile = \"{folder}/nowhere/watchpost.log\"\n";
    both_refuse(file, |_| {}, "log.file", &["cannot open the log file"], 74);
    let blocked = |case: &Case| case.write("data", "a file");
    both_refuse(
        "",
        blocked,
        "--data-dir: server.data_dir",
        &["cannot use the data folder"],
        74,
    );
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound");
    let listeners = format!("listeners = [{{ address = \"{address}\" }}]\n");
    both_refuse(&listeners, |_| {}, "listeners[0].address", &[&address.to_string()], 69);
    let database = "[database]\nurl = \"sqlite:{folder}/nowhere/watchpost.db\"\n";
    both_refuse(database, |_| {}, "database.url", &["nowhere"], 69);
    let closed = watchpost_tests::ports::CLOSED;
    let away = format!("[database]\nurl = \"postgres://watchpost:secret@127.0.0.1:{closed}/watchpost\"\n");
    both_refuse(&away, |_| {}, "database.url", &["cannot be reached"], 69);
}

#[test]
fn unknown_sources_and_wrong_rule_settings_are_refused_by_check_and_start() {
    let source = "[[collector.sources]]\nname = \"host.memroy\"\ninterval = \"5s\"\n";
    both_refuse(
        source,
        |_| {},
        "watchpost.toml: collector.sources[0].name",
        &["\"host.memroy\" is not a source"],
        78,
    );
    let levels = "[rules.threshold]\nthresholds = [{ metric = \"disk\", warning = 95, alert = 90 }]\n";
    let key = "watchpost.toml: rules.threshold.thresholds[0].warning";
    both_refuse(levels, |_| {}, key, &["must be below the alert level 90"], 78);
}

#[test]
fn an_unreadable_rules_folder_is_a_warning_because_the_server_starts_without_it() {
    let case = Case::new();
    case.write("watchpost.toml", "[rules]\ndir = \"nowhere\"\n");
    let (code, problems) = case.checked();
    assert_eq!(code, Some(0), "{problems:?}");
    let warning = problems.iter().find(|problem| {
        problem["where"]
            .as_str()
            .is_some_and(|place| place.contains("rules.dir"))
    });
    assert_eq!(warning.expect("a warning")["severity"], "warning");
}

#[test]
fn all_problems_are_reported_at_once_by_check_and_start() {
    let case = Case::new();
    fs::remove_file(case.path().join("ca.crt")).expect("removed");
    case.write("server.key", "");
    case.write(
        "watchpost.toml",
        format!(
            "{TLS}[rules.threshold]\nthresholds = [{{ metric = \"disk\", warning = 95, alert = 90 }}]\n[rules.role]\nnonsense = 1\n\
             [log]\nfile = \"nowhere/watchpost.log\"\n"
        ),
    );
    let (code, problems) = case.checked();
    assert_eq!(code, Some(78));
    let places: Vec<_> = problems
        .iter()
        .map(|problem| problem["where"].as_str().expect("text"))
        .collect();
    for key in ["tls.key", "tls.client_ca", "rules.threshold", "rules.role", "log.file"] {
        assert!(places.iter().any(|place| place.contains(key)), "{key}: {places:?}");
    }
    let text = fs::read_to_string(case.path().join("watchpost.toml")).expect("it is there");
    case.write("watchpost.toml", text.replace("file = \"nowhere/watchpost.log\"", ""));
    let started = case.run(&["serve"]);
    let output = String::from_utf8_lossy(&started.stderr);
    for key in ["tls.key", "tls.client_ca"] {
        assert!(output.contains(key), "{key}:\n{output}");
    }
}

#[test]
fn a_database_server_on_another_machine_has_to_be_authenticated() {
    let case = Case::new();
    let check = |url: &str, expected: bool| {
        case.write(
            "watchpost.toml",
            format!("listeners = [{{ address = \"127.0.0.1:0\" }}]\n[chunks]\ndatabase_url = \"{url}\"\n"),
        );
        let (_, problems) = case.checked();
        let found = problems.iter().any(|problem| {
            let message = problem["message"].as_str().unwrap_or_default();
            problem["severity"] == "warning" && message.contains("is not authenticated")
        });
        assert_eq!(found, expected, "{url}: {problems:?}");
    };
    // Reserved for documentation, so nothing answers there; nothing has to.
    check("postgres://w:s@192.0.2.1/x?connect_timeout=1", true);
    check(
        "postgres://w:s@192.0.2.1/x?connect_timeout=1&sslmode=verify-full",
        false,
    );
}

#[test]
fn a_damaged_database_is_a_warning_and_one_of_a_newer_version_is_refused() {
    let case = Case::new();
    case.write("watchpost.toml", "listeners = [{ address = \"127.0.0.1:0\" }]\n");
    template::copy_to(&case.path().join("data"));
    case.write(
        "data/watchpost.db",
        "this is no database, but a text of some length, and SQLite can see that".repeat(20),
    );
    let (code, problems) = case.checked();
    assert_eq!(code, Some(0), "{problems:?}");
    assert_eq!(problems[0]["severity"], "warning", "{problems:?}");
    assert!(
        problems[0]["message"]
            .as_str()
            .is_some_and(|text| text.contains("damaged")),
        "{problems:?}"
    );

    let newer = |case: &Case| {
        let server = Server::in_folder(tempfile::tempdir().expect("a folder"), "");
        let kept = server.stop();
        fs::create_dir(case.path().join("data")).expect("created");
        let database = case.path().join("data/watchpost.db");
        fs::copy(kept.path().join("data/watchpost.db"), &database).expect("copied");
        let sql = "INSERT INTO __diesel_schema_migrations (version) VALUES ('99991231000000')";
        let changed = diesel_sql(&database, sql);
        assert_eq!(changed, 1);
    };
    both_refuse("", newer, "server.data_dir", &["newer Watchpost", "99991231000000"], 78);
}

fn diesel_sql(database: &Path, sql: &str) -> usize {
    use diesel::{Connection, RunQueryDsl, SqliteConnection};
    let mut connection = SqliteConnection::establish(&database.display().to_string()).expect("it opens");
    diesel::sql_query(sql).execute(&mut connection).expect("it is written")
}

#[test]
fn beside_a_running_server_its_addresses_are_a_note_and_the_other_commands_work() {
    let server = Server::start().ready();
    let address = server.plain;
    let settings = format!("listeners = [{{ address = \"{address}\", tls = false }}, {{ address = \"127.0.0.1:0\" }}]");
    server.configure(&settings);
    let output = command(server.folder())
        .args(["check", "--json"])
        .output()
        .expect("it runs");
    let problems: Vec<Value> = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(output.status.code(), Some(0), "{problems:?}");
    let note = problems
        .iter()
        .find(|problem| problem["severity"] == "note")
        .expect("a note");
    let text = note["message"].as_str().expect("text");
    assert!(
        text.contains(&address.to_string()) && text.contains(&server.pid().to_string()),
        "{text}"
    );
    let listed = command(server.folder())
        .args(["certs", "list"])
        .output()
        .expect("it runs");
    assert!(listed.status.success());
}

#[test]
fn a_second_server_on_the_same_data_directory_is_refused_and_a_killed_one_leaves_no_lock() {
    let mut server = Server::start().ready();
    let second = command(server.folder()).output().expect("it runs");
    let output = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(75), "{output}");
    assert!(output.contains(&server.data().display().to_string()), "{output}");
    assert!(output.contains(&format!("process {}", server.pid())), "{output}");
    assert_eq!(
        server.get("/api/v1/status").status,
        200,
        "the first server is not disturbed"
    );
    server.signal("KILL");
    server.ended();
    let folder = server.stop();
    assert!(
        folder.path().join("data/watchpost.lock").exists(),
        "the file of the killed server is still there"
    );
    Server::in_folder(folder, "").ready();
}
