//! Every configuration of the documentation starts, and each client that it names gets access. Only addresses, paths and
//! hashes of tokens are adapted.

use std::path::{Path, PathBuf};
use std::process::Command;

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Name};
use toml::{Table, Value};
use watchpost_tests::http::Client;
use watchpost_tests::programs::output_of;
use watchpost_tests::server::{Server, eventually, program};

/// The issuer of client certificates where a configuration names none.
const OTHER_ISSUER: &str = "CN=Example CA,O=Example";

/// Every block of a document that is a configuration of Watchpost.
fn configurations() -> Vec<(String, Table)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let docs = std::fs::read_dir(root.join("docs")).expect("it is there");
    let pages = docs.map(|entry| entry.expect("readable").path());
    let mut pages: Vec<PathBuf> = pages
        .filter(|path| path.extension().is_some_and(|kind| kind == "md"))
        .collect();
    pages.push(root.join("README.md"));
    pages.sort();
    let mut found = Vec::new();
    for page in pages {
        let text = std::fs::read_to_string(&page).expect("readable");
        for (at, block) in text.split("```toml\n").skip(1).enumerate() {
            let block = block.split("```").next().unwrap_or_default();
            let name = format!("block {} of {}", at + 1, page.display());
            let table: Table = block.parse().unwrap_or_else(|error| panic!("{name}: {error}"));
            // Test cases and the manifest of a crate are no configurations.
            if !table.contains_key("case") && !table.contains_key("package") {
                found.push((name, table));
            }
        }
    }
    let template = std::fs::read_to_string(root.join("deploy/watchpost.toml")).expect("readable");
    // Settings with a default are commented out in the template; the comment of another one shows its type.
    let whole: Vec<_> = template
        .lines()
        .map(|line| line.strip_prefix("#").filter(|rest| is_setting(rest)).unwrap_or(line))
        .collect();
    found.push((
        "deploy/watchpost.toml".to_owned(),
        template.parse().expect("it is TOML"),
    ));
    found.push((
        "deploy/watchpost.toml with every default".to_owned(),
        whole.join("\n").parse().expect("it is TOML"),
    ));
    found
}

/// Whether a commented line of the template is a section or a setting with a value.
fn is_setting(line: &str) -> bool {
    let is_section = line.starts_with('[') && line.ends_with(']') && !line.starts_with("[[tokens");
    let name = line.split(" = ").next().unwrap_or_default();
    let has_value = line.contains(" = ") && !line.contains(" = (");
    is_section || (has_value && name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_'))
}

/// An authority of the test with the name that a configuration expects.
struct Authority {
    certificate: X509,
    key: PKey<Private>,
}

fn new_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("it is known");
    PKey::from_ec_key(EcKey::generate(&group).expect("generated")).expect("a key")
}

/// A name in the form of RFC 4514, which a certificate encodes in the opposite order.
fn name_of(text: &str) -> X509Name {
    let mut name = X509Name::builder().expect("a builder");
    for part in text.rsplit(',') {
        let (kind, value) = part.split_once('=').expect("an attribute");
        name.append_entry_by_text(kind, value).expect("a known attribute");
    }
    name.build()
}

impl Authority {
    fn new(name: &str) -> Self {
        let (key, name) = (new_key(), name_of(name));
        let certificate = certify(&name, &key, &name, &key, |builder| {
            builder
                .append_extension(BasicConstraints::new().critical().ca().build().expect("built"))
                .expect("appended");
        });
        Self { certificate, key }
    }

    /// Writes a certificate and its key, and returns their paths.
    fn issue(&self, subject: &str, folder: &Path, file: &str) -> (PathBuf, PathBuf) {
        let key = new_key();
        let certificate = certify(
            &name_of(subject),
            &key,
            self.certificate.subject_name(),
            &self.key,
            |builder| {
                let names = SubjectAlternativeName::new()
                    .dns("localhost")
                    .build(&builder.x509v3_context(None, None));
                builder.append_extension(names.expect("built")).expect("appended");
            },
        );
        let paths = (folder.join(format!("{file}.crt")), folder.join(format!("{file}.key")));
        std::fs::write(&paths.0, certificate.to_pem().expect("PEM")).expect("written");
        std::fs::write(&paths.1, key.private_key_to_pem_pkcs8().expect("PEM")).expect("written");
        paths
    }
}

fn certify(
    subject: &X509Name,
    key: &PKey<Private>,
    issuer: &openssl::x509::X509NameRef,
    issuer_key: &PKey<Private>,
    extend: impl FnOnce(&mut openssl::x509::X509Builder),
) -> X509 {
    let mut builder = X509::builder().expect("a builder");
    let mut serial = BigNum::new().expect("a number");
    serial
        .rand(100, openssl::bn::MsbOption::MAYBE_ZERO, false)
        .expect("random");
    builder.set_version(2).expect("set");
    builder
        .set_serial_number(&serial.to_asn1_integer().expect("a number"))
        .expect("set");
    builder.set_subject_name(subject).expect("set");
    builder.set_issuer_name(issuer).expect("set");
    builder.set_pubkey(key).expect("set");
    builder
        .set_not_before(&Asn1Time::days_from_now(0).expect("a time"))
        .expect("set");
    builder
        .set_not_after(&Asn1Time::days_from_now(30).expect("a time"))
        .expect("set");
    extend(&mut builder);
    builder.sign(issuer_key, MessageDigest::sha256()).expect("signed");
    builder.build()
}

/// The secret of the token with this name.
fn secret(name: &str) -> String {
    format!("the secret of {name}")
}

/// A documented configuration with the addresses, paths and hashes of this test.
struct Adapted {
    table: Table,
    folder: tempfile::TempDir,
    authorities: Vec<(String, Authority)>,
}

impl Adapted {
    fn new(documented: &Table) -> Self {
        let mut adapted = Self {
            table: documented.clone(),
            folder: tempfile::tempdir().expect("a folder"),
            authorities: Vec::new(),
        };
        adapted.addresses();
        adapted.tokens();
        adapted.tls();
        adapted.rules();
        adapted
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn addresses(&mut self) {
        for listener in self
            .table
            .get_mut("listeners")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            let listener = listener.as_table_mut().expect("a table");
            listener.insert("address".to_owned(), Value::from("127.0.0.1:0"));
        }
        if let Some(server) = self.table.get_mut("server").and_then(Value::as_table_mut) {
            server.remove("data_dir");
        }
    }

    fn tokens(&mut self) {
        for token in self
            .table
            .get_mut("tokens")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            let token = token.as_table_mut().expect("a table");
            let shown = token["sha256"].as_str().expect("a text");
            assert!(
                shown == "…" || shown == "0".repeat(64),
                "{shown} may be the hash of a token of a client"
            );
            let hash = openssl::sha::sha256(secret(token["name"].as_str().expect("a text")).as_bytes());
            let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            token.insert("sha256".to_owned(), Value::from(digits));
        }
    }

    fn tls(&mut self) {
        for entry in self.entries() {
            let issuer = entry["match"]
                .get("issuer")
                .and_then(Value::as_str)
                .unwrap_or(OTHER_ISSUER);
            if entry["match"].get("token").is_none() && self.authorities.iter().all(|(name, _)| name != issuer) {
                self.authorities.push((issuer.to_owned(), Authority::new(issuer)));
            }
        }
        if self.authorities.is_empty() {
            self.authorities
                .push((OTHER_ISSUER.to_owned(), Authority::new(OTHER_ISSUER)));
        }
        let authorities: Vec<u8> = self
            .authorities
            .iter()
            .flat_map(|(_, one)| one.certificate.to_pem().expect("PEM"))
            .collect();
        std::fs::write(self.file("authorities.pem"), authorities).expect("written");
        let (certificate, key) = self.authorities[0]
            .1
            .issue("CN=localhost", self.folder.path(), "server");
        let authorities = self.file("authorities.pem");
        let Some(tls) = self.table.get_mut("tls").and_then(Value::as_table_mut) else {
            return;
        };
        for (key, path) in [("certificate", certificate), ("key", key), ("client_ca", authorities)] {
            if let Some(shown) = tls.get_mut(key) {
                *shown = Value::from(path.display().to_string());
            }
        }
    }

    fn rules(&mut self) {
        let (dir, key) = (self.file("rules"), self.file("ops"));
        let Some(rules) = self.table.get_mut("rules").and_then(Value::as_table_mut) else {
            return;
        };
        if let Some(shown) = rules.get_mut("dir") {
            std::fs::create_dir(&dir).expect("created");
            *shown = Value::from(dir.display().to_string());
        }
        for trusted in rules
            .get_mut("trusted_keys")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            let mut keygen = Command::new(program());
            output_of(keygen.args(["rules", "keygen", "--out"]).arg(&key)).expect("a key pair");
            let public = key.with_extension("pub").display().to_string();
            trusted
                .as_table_mut()
                .expect("a table")
                .insert("key".to_owned(), Value::from(public));
        }
    }

    /// The entries under `rules.role.identities`.
    fn entries(&self) -> Vec<Table> {
        let role = self.table.get("rules").and_then(|rules| rules.get("role"));
        let entries = role.and_then(|role| role.get("identities")).and_then(Value::as_array);
        entries
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.as_table().cloned())
            .collect()
    }

    fn has(&self, section: &str, key: &str) -> bool {
        self.table.get(section).and_then(|section| section.get(key)).is_some()
    }
}

fn texts(list: &Value) -> Vec<String> {
    let list = list.as_array().expect("a list").iter();
    list.map(|text| text.as_str().expect("a text").to_owned()).collect()
}

/// Checks that the client has these roles, and that they allow more than an anonymous client may do.
fn has_access(client: &Client, roles: &[String], whose: &str) {
    let who = client.get("/api/v1/whoami").json();
    let has: Vec<&str> = who["roles"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|role| role.as_str())
        .collect();
    assert!(
        !roles.is_empty() && roles.iter().all(|role| has.contains(&role.as_str())),
        "{whose}: {who}"
    );
    let allowed = who["allowed_actions"].as_array().expect("a list");
    assert!(allowed.len() > 3, "{whose}: {who}");
    if allowed.iter().any(|action| action == "metrics.read") {
        for path in ["/api/v1/snapshot", "/api/v1/status"] {
            assert_eq!(client.get(path).status, 200, "{whose}: {path}");
        }
    }
}

fn check(name: &str, documented: &Table) {
    let adapted = Adapted::new(documented);
    let (entries, table) = (adapted.entries(), adapted.table.clone());
    let own_certificate = adapted.has("tls", "certificate");
    let own_clients = adapted.has("tls", "client_ca");
    let Adapted {
        folder, authorities, ..
    } = adapted;
    let server = Server::in_folder(folder, &table.to_string());
    let ca = match own_certificate {
        true => server.folder().join("authorities.pem"),
        false => server.data().join("pki/ca.crt"),
    };
    let secure = || Client::new(server.secure, &ca);
    eventually("a first round", || {
        server
            .log_lines()
            .iter()
            .any(|line| line.contains("listening on"))
            .then_some(())
    });

    let listeners: Vec<Table> = table
        .get("listeners")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|listener| listener.as_table().expect("a table").clone())
        .collect();
    let requires = listeners
        .iter()
        .any(|listener| listener.get("client_auth").and_then(Value::as_str) == Some("required"));
    for token in table.get("tokens").and_then(Value::as_array).into_iter().flatten() {
        let token_name = token["name"].as_str().expect("a text");
        let client = if requires { server.plain_client() } else { secure() };
        let client = client.with("authorization", &format!("Bearer {}", secret(token_name)));
        let roles = token.get("roles").map(texts).unwrap_or_default();
        ready(&client);
        has_access(&client, &roles, &format!("{name}: the token {token_name}"));
    }
    for (at, entry) in entries.iter().enumerate() {
        let fields = entry["match"].as_table().expect("a table");
        assert!(
            fields.keys().all(|field| field == "issuer" || field == "attributes"),
            "{name}: {entry}"
        );
        let issuer = fields.get("issuer").and_then(Value::as_str).unwrap_or(OTHER_ISSUER);
        let mut attributes: Vec<String> = fields["attributes"]
            .as_table()
            .expect("a table")
            .iter()
            .map(|(kind, value)| format!("{kind}={}", value.as_str().expect("a text")))
            .collect();
        if !attributes.iter().any(|attribute| attribute.starts_with("CN=")) {
            attributes.push("CN=client".to_owned());
        }
        let (_, authority) = authorities
            .iter()
            .find(|(name, _)| name == issuer)
            .expect("it was made");
        let (certificate, key) = authority.issue(&attributes.join(","), server.folder(), &format!("client-{at}"));
        let client = secure().with_certificate(&certificate, &key);
        ready(&client);
        has_access(&client, &texts(&entry["roles"]), &format!("{name}: entry {at}"));
    }
    if !own_clients {
        for role in ["admin", "user", "reader", "agent"] {
            let clients = server.data().join("pki/clients");
            let file = |kind: &str| clients.join(format!("{role}.{kind}"));
            let client = secure().with_certificate(&file("crt"), &file("key"));
            ready(&client);
            has_access(
                &client,
                &[role.to_owned()],
                &format!("{name}: the development certificate {role}"),
            );
        }
    }
    let anonymous = table
        .get("rules")
        .and_then(|rules| rules.get("role")?.get("roles")?.get("anonymous"));
    if anonymous.is_some_and(|actions| texts(actions).iter().any(|action| action == "metrics.read")) {
        let client = server.plain_client();
        for path in [
            "/wm_resource_monitor/api/status",
            "/wm_resource_monitor/api/metrics",
            "/metrics",
        ] {
            assert_eq!(client.get(path).status, 200, "{name}: {path}");
        }
    }
    for (listener, at) in listeners.iter().zip(server.listeners()) {
        if listener.get("api").and_then(Value::as_str) == Some("pixcrawler") {
            assert_eq!(Client::plain(at.address).get("/metrics").status, 200, "{name}");
        }
    }
    let log = server.log_lines();
    for warning in [
        "may do no more than",
        "there is no role",
        "no client can change rules",
        "no client with a certificate",
    ] {
        assert!(log.iter().all(|line| !line.contains(warning)), "{name}: {log:?}");
    }
}

/// Waits until the first round was judged; before it, the paths of measurements answer 503.
fn ready(client: &Client) {
    eventually("a first round", || {
        (client.get("/health/ready").status == 200).then_some(())
    });
}

#[test]
fn every_configuration_of_the_documentation_starts_and_gives_access_to_the_clients_that_it_names() {
    let all = configurations();
    assert!(all.len() > 9, "{}", all.len());
    let named = |key: &str| all.iter().filter(|(_, table)| table.contains_key(key)).count();
    assert!(named("tokens") >= 2 && named("listeners") >= 3 && named("rules") >= 5);
    for (name, table) in &all {
        check(name, table);
    }
}
