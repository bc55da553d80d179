//! When a client certificate is accepted: owners of proxy certificates, policy languages, times, and the development
//! authority. Every case is a request to a server over TLS, or through a front end.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use watchpost_tests::authority::{A_DAY, Holder, INDEPENDENT, INHERIT_ALL, LIMITED, UNKNOWN};
use watchpost_tests::http::{Answer, Client, Connection};
use watchpost_tests::server::{Server, configure, eventually};

const TRUSTING: &str = "[http]\nrequests_per_second = 0\naccess_log = false\ntrusted_proxies = [\"127.0.0.1\"]\n";

/// SHA-256 over `watcher`.
const WATCHER_SHA256: &str = "0e7f3c5c909ce8afb978a208d639e85af2171df2ec0003a07f13ad97878ef053";

/// An authority whose clients have the role admin, and the folder of a server that trusts it.
struct Setting {
    folder: tempfile::TempDir,
    issuing: Holder,
}

impl Setting {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Holder::root("CN=Root");
        let issuing = root.intermediate("CN=Issuing");
        fs::write(folder.path().join("clients.pem"), [root.pem(), issuing.pem()].concat()).expect("written");
        Self { folder, issuing }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a server in this folder. `tls` and `rest` are settings.
    fn start(self, tls: &str, rest: &str) -> Running {
        let Self { folder, issuing } = self;
        let settings = format!(
            "{rest}\n[tls]\ncheck_interval = \"50ms\"\nclient_ca = \"{0}/clients.pem\"\n{tls}\n\
             [[rules.role.identities]]\nmatch = {{ attributes = {{ OU = \"admin\" }} }}\nroles = [\"admin\"]\n",
            folder.path().display()
        );
        let server = Server::in_folder(folder, &settings).ready();
        Running { server, issuing }
    }
}

struct Running {
    server: Server,
    issuing: Holder,
}

impl Running {
    fn client(&self, holder: &Holder, name: &str) -> Client {
        let (certificate, key) = holder.write(self.server.folder(), name);
        self.server.anonymous_client().with_certificate(&certificate, &key)
    }
}

/// Replaces the list as a whole, as the job of an operator does it.
fn replace_crl(folder: &Path, list: &[u8]) {
    let staged = folder.join("crl.staged");
    fs::write(&staged, list).expect("written");
    fs::rename(staged, folder.join("crl.pem")).expect("renamed");
}

fn crl_setting(setting: &Setting) -> String {
    format!("crl = \"{}/crl.pem\"", setting.path().display())
}

fn whoami(connection: &mut Connection) -> Answer {
    connection.ask("GET", "/api/v1/whoami").expect("the connection lives")
}

#[test]
fn a_revoked_owner_is_refused_with_a_self_signed_proxy_on_open_and_new_connections() {
    let setting = Setting::new();
    // Only the issuing authority has a list, so OpenSSL looks up no certificate but the first of a chain.
    replace_crl(setting.path(), &setting.issuing.crl(&[], 86_400));
    let tls = format!("proxy_certificates = true\n{}", crl_setting(&setting));
    let running = setting.start(&tls, "");
    let alice = running.issuing.issue("CN=alice,OU=admin", &[], A_DAY);
    let bob = running.issuing.issue("CN=bob,OU=admin", &[], A_DAY);
    let by_proxy = running.client(&alice.proxy(INHERIT_ALL, A_DAY), "proxy");
    let other = running.client(&bob.proxy(INHERIT_ALL, A_DAY), "other");
    let mut open = by_proxy.connect().expect("it is accepted");
    let who = whoami(&mut open).json();
    assert_eq!(who["identity"]["subject"], "CN=alice,OU=admin", "{who}");
    assert_eq!(who["identity"]["proxy"], "full", "{who}");
    assert_eq!(who["roles"][0], "admin", "{who}");

    replace_crl(running.server.folder(), &running.issuing.crl(&[&alice], 86_400));
    running.server.logged("revocation lists reloaded");
    assert!(running.client(&alice, "alice").try_ask("GET", "/health").is_err());
    for answer in [whoami(&mut open), by_proxy.get("/api/v1/whoami")] {
        let reason = answer.problem(401);
        assert!(reason.contains("owner") && reason.contains("revoked"), "{reason}");
    }
    assert_eq!(other.get("/api/v1/whoami").status, 200, "others are not concerned");
}

#[test]
fn only_a_proxy_that_delegates_all_rights_is_accepted() {
    let running = Setting::new().start("proxy_certificates = true", "");
    let alice = running.issuing.issue("CN=alice,OU=admin", &[], A_DAY);
    let answer = |proxy: &Holder| running.client(proxy, "proxy").get("/api/v1/whoami");
    assert_eq!(answer(&alice.proxy(INHERIT_ALL, A_DAY)).status, 200);
    let second = alice.proxy(INHERIT_ALL, A_DAY).proxy(INHERIT_ALL, A_DAY);
    assert_eq!(answer(&second).json()["identity"]["subject"], "CN=alice,OU=admin");
    for language in [INDEPENDENT, UNKNOWN] {
        let reason = answer(&alice.proxy(language, A_DAY)).problem(401);
        assert!(reason.contains("id-ppl-inheritAll"), "{reason}");
    }
    let reason = answer(&alice.proxy(LIMITED, A_DAY)).problem(401);
    assert!(reason.contains("limited proxy"), "{reason}");
    // What a proxy delegates further is not more than it has.
    let reason = answer(&alice.proxy(INDEPENDENT, A_DAY).proxy(INHERIT_ALL, A_DAY)).problem(401);
    assert!(reason.contains("id-ppl-inheritAll"), "{reason}");
}

#[test]
fn a_limited_proxy_is_a_fact_for_rules_if_a_setting_accepts_it() {
    let running = Setting::new().start("proxy_certificates = true\nlimited_proxies = true", "");
    let alice = running.issuing.issue("CN=alice,OU=admin", &[], A_DAY);
    let answer = |proxy: &Holder| running.client(proxy, "proxy").get("/api/v1/whoami").json();
    for proxy in [
        alice.proxy(LIMITED, A_DAY),
        alice.proxy(LIMITED, A_DAY).proxy(INHERIT_ALL, A_DAY),
        alice.proxy(INHERIT_ALL, A_DAY).proxy(LIMITED, A_DAY),
    ] {
        let who = answer(&proxy);
        assert_eq!(who["identity"]["proxy"], "limited", "{who}");
        assert_eq!(who["identity"]["subject"], "CN=alice,OU=admin", "{who}");
        assert_eq!(who["roles"], json!(["anonymous"]), "{who}");
    }
    let who = answer(&alice.proxy(INHERIT_ALL, A_DAY));
    assert_eq!(who["roles"][0], "admin", "{who}");
    let refused = running.client(&alice.proxy(UNKNOWN, A_DAY), "unknown").get("/health");
    refused.problem(401);
}

#[test]
fn a_proxy_certificate_has_no_break_glass_access() {
    let setting = Setting::new();
    let owner = setting.issuing.issue("CN=olga", &[], A_DAY);
    let fingerprint = owner.certificate.digest(openssl::hash::MessageDigest::sha256());
    let fingerprint: String = fingerprint
        .expect("a digest")
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let rules = format!("[rules]\nbreak_glass = [\"{fingerprint}\"]");
    let running = setting.start("proxy_certificates = true", &rules);
    let status = |holder: &Holder| running.client(holder, "olga").get("/api/v1/rules").status;
    assert_eq!(status(&owner), 200);
    assert_eq!(status(&owner.proxy(INHERIT_ALL, A_DAY)), 403);
}

#[test]
fn a_connection_ends_with_the_validity_of_any_certificate_in_its_chain() {
    let running = Setting::new().start("proxy_certificates = true", "");
    let alice = running.issuing.issue("CN=alice,OU=admin", &[], A_DAY);
    let short_lived = alice.proxy(INHERIT_ALL, -3600..5);
    let client = running.client(&short_lived.proxy(INHERIT_ALL, A_DAY), "proxy");
    let mut open = client.connect().expect("it is valid");
    assert_eq!(whoami(&mut open).status, 200);
    let reason = eventually("the proxy in the middle expires", || {
        let answer = whoami(&mut open);
        (answer.status != 200).then(|| answer.problem(401))
    });
    assert!(reason.contains("expired"), "{reason}");
}

#[test]
fn an_expired_revocation_list_refuses_open_and_resumed_connections_and_is_an_error_a_metric_and_a_finding() {
    let setting = Setting::new();
    replace_crl(setting.path(), &setting.issuing.crl(&[], 15));
    let crl = crl_setting(&setting);
    let tokens = format!("[[tokens]]\nname = \"watcher\"\nsha256 = \"{WATCHER_SHA256}\"\nroles = [\"reader\"]\n");
    let running = setting.start(&crl, &tokens);
    let alice = running.issuing.issue("CN=alice,OU=admin", &[], A_DAY);
    let client = running.client(&alice, "alice");
    for version in ["-tls1_2", "-tls1_3"] {
        resume(&running, &[version, "-sess_out", version]);
        let again = resume(&running, &[version, "-sess_in", version]);
        assert!(again.contains("Reused, TLSv1.") && again.contains(" 200 OK"), "{again}");
    }
    let mut open = client.connect().expect("it is accepted");
    assert_eq!(whoami(&mut open).status, 200);
    let reason = eventually("the list expires", || {
        let answer = whoami(&mut open);
        (answer.status != 200).then(|| answer.problem(401))
    });
    assert!(reason.contains("revocation list"), "{reason}");
    for version in ["-tls1_2", "-tls1_3"] {
        let resumed = resume(&running, &[version, "-sess_in", version]);
        assert!(resumed.contains("Reused") && resumed.contains(" 401 "), "{resumed}");
    }
    assert!(client.try_ask("GET", "/health").is_err(), "a new handshake is refused");
    running.server.logged("the revocation list has expired");
    let watcher = running.server.plain_client().with("authorization", "Bearer watcher");
    let of_crl =
        |finding: &serde_json::Value| finding["subject"]["labels"]["kind"] == "crl" && finding["severity"] == "alert";
    eventually("a finding", || {
        let report = watcher.get("/api/v1/report").json();
        report["findings"]
            .as_array()
            .is_some_and(|all| all.iter().any(of_crl))
            .then_some(())
    });
    let page = watcher.get("/metrics").text();
    let remaining = |line: &str| {
        let value = line.strip_prefix("watchpost_certificate_remaining_seconds{kind=\"crl\"} ")?;
        value.parse::<f64>().ok()
    };
    assert!(
        page.lines().find_map(remaining).is_some_and(|seconds| seconds <= 0.0),
        "{page}"
    );

    // A new list helps at once, and without a restart.
    replace_crl(running.server.folder(), &running.issuing.crl(&[], 86_400));
    eventually("the new list", || client.try_ask("GET", "/api/v1/whoami").ok());
    assert_eq!(client.get("/api/v1/whoami").json()["roles"][0], "admin");
}

#[test]
fn an_expired_revocation_list_refuses_forwarded_clients() {
    let setting = Setting::new();
    replace_crl(setting.path(), &setting.issuing.crl(&[], 12));
    let crl = crl_setting(&setting);
    let running = setting.start(&crl, TRUSTING);
    let alice = running.issuing.issue("CN=alice,OU=admin", &[], A_DAY);
    let forwarded = running.server.plain_client().with("client-cert", &header(&alice));
    assert_eq!(forwarded.get("/api/v1/whoami").json()["roles"][0], "admin");
    let reason = eventually("the list expires", || {
        let answer = forwarded.get("/api/v1/whoami");
        (answer.status != 200).then(|| answer.problem(401))
    });
    assert!(reason.contains("revocation list"), "{reason}");
    replace_crl(running.server.folder(), &running.issuing.crl(&[], 86_400));
    eventually("the new list", || {
        (forwarded.get("/api/v1/whoami").status == 200).then_some(())
    });
}

#[test]
fn a_forwarded_certificate_is_refused_before_and_after_its_validity_and_accepted_in_between() {
    let running = Setting::new().start("", TRUSTING);
    let alice = running.issuing.issue("CN=alice,OU=admin", &[], 4..10);
    let forwarded = running.server.plain_client().with("client-cert", &header(&alice));
    let reason = forwarded.get("/api/v1/whoami").problem(401);
    assert!(reason.contains("not valid yet"), "{reason}");
    eventually("it becomes valid", || {
        (forwarded.get("/api/v1/whoami").status == 200).then_some(())
    });
    let reason = eventually("it expires", || {
        let answer = forwarded.get("/api/v1/whoami");
        (answer.status != 200).then(|| answer.problem(401))
    });
    assert!(reason.contains("expired"), "{reason}");
}

#[test]
fn a_role_of_a_development_certificate_counts_only_on_the_server_of_its_authority() {
    let other = Server::fresh("");
    let folder = tempfile::tempdir().expect("a folder");
    let bundle = folder.path().join("bundle.pem");
    fs::write(&bundle, "").expect("written");
    // The server creates its authority at the start, so that the bundle is written afterwards.
    let server = Server::start();
    let ca = |server: &Server| fs::read(server.data().join("pki/ca.crt")).expect("read");
    fs::write(&bundle, [ca(&server), ca(&other)].concat()).expect("written");
    let settings = format!("[tls]\nclient_ca = \"{}\"\n", bundle.display());
    let folder = server.stop();
    configure(folder.path(), &settings);
    let server = Server::prepared(folder).ready();
    let who = server.client("admin").get("/api/v1/whoami").json();
    assert_eq!(who["roles"], json!(["admin", "anonymous"]), "{who}");
    assert_eq!(who["identity"]["assigned_roles"], json!(["admin"]), "{who}");
    let clients = other.data().join("pki/clients");
    let other_admin = server
        .anonymous_client()
        .with_certificate(&clients.join("admin.crt"), &clients.join("admin.key"));
    let who = other_admin.get("/api/v1/whoami").json();
    assert_eq!(who["identity"]["subject"], "CN=admin,OU=admin,O=Watchpost", "{who}");
    assert_eq!(who["roles"], json!(["anonymous"]), "{who}");
}

/// A request of alice with `openssl s_client`, and its output.
fn resume(running: &Running, arguments: &[&str]) -> String {
    let folder = running.server.folder();
    let mut child = Command::new("openssl")
        .args(["s_client", "-ign_eof", "-connect", &running.server.secure.to_string()])
        .args(["-cert", "alice.crt", "-key", "alice.key"])
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl starts");
    let mut input = child.stdin.take().expect("piped");
    // A refused client does not read its input.
    let _ = input.write_all(b"GET /api/v1/status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let output = child.wait_with_output().expect("it ends");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A certificate in the form of RFC 9440.
fn header(holder: &Holder) -> String {
    format!(
        ":{}:",
        BASE64_STANDARD.encode(holder.certificate.to_der().expect("DER"))
    )
}
