//! Rejected TLS connections and malformed requests: each is counted and logged with the client's address, and the
//! client learns the reason.

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::ssl::{HandshakeError, Ssl, SslContextBuilder, SslVersion};
use openssl::x509::extension::ExtendedKeyUsage;
use openssl::x509::{X509, X509Builder, X509NameBuilder};
use watchpost_tests::http::Client;
use watchpost_tests::server::{Server, command, eventually};

/// Alerts of RFC 8446, section 6.
const HANDSHAKE_FAILURE: i32 = 40;
const BAD_CERTIFICATE: i32 = 42;
const CERTIFICATE_REVOKED: i32 = 44;
const CERTIFICATE_EXPIRED: i32 = 45;
const UNKNOWN_CA: i32 = 48;
const PROTOCOL_VERSION: i32 = 70;
const CERTIFICATE_REQUIRED: i32 = 116;

const REQUIRED: &str = "listeners = [{ address = \"127.0.0.1:0\", client_auth = \"required\" }, { address = \"127.0.0.1:0\", tls = false }]";

/// The value of a series on the metrics page.
fn value(server: &Server, series: &str) -> f64 {
    let page = server.get("/metrics").text();
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let number = line.unwrap_or_else(|| panic!("{series} is missing in\n{page}"));
    number.parse().expect("a number")
}

fn rejected(server: &Server, reason: &str) -> f64 {
    value(
        server,
        &format!("watchpost_tls_rejected_connections_total{{reason=\"{reason}\"}}"),
    )
}

fn malformed(server: &Server) -> f64 {
    value(server, "watchpost_http_malformed_requests_total")
}

/// Waits until a connection was rejected for this reason, and returns the log line about this client.
fn line_about(server: &Server, reason: &str, client: SocketAddr) -> String {
    let line = server.logged(&format!("peer={client} "));
    assert!(line.contains(&format!("reason={reason} ")), "{line}");
    assert!(
        line.contains("rejected a TLS connection") && line.contains("WARN"),
        "{line}"
    );
    assert!(line.contains(&format!("listener={} ", server.secure)), "{line}");
    line
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a timeout can be set");
    stream
}

/// Sends a request over TLS, and returns the server's alert and the client's own address.
fn alert(address: SocketAddr, tls: SslContextBuilder) -> (i32, SocketAddr) {
    let stream = connect(address);
    let client = stream.local_addr().expect("it is connected");
    let mut ssl = Ssl::new(&tls.build()).expect("OpenSSL is there");
    ssl.set_hostname("localhost").expect("a name");
    let error = match ssl.connect(stream) {
        Err(HandshakeError::Failure(failed)) => failed.into_error(),
        Err(other) => panic!("{other}"),
        // With TLS 1.3 the client's handshake ends before the server has verified its certificate.
        Ok(mut stream) => {
            let request = format!(
                "GET /health HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n",
                "x".repeat(8000)
            );
            let sent = stream.ssl_write(request.as_bytes());
            let mut response = [0; 100];
            let read = stream.ssl_read(&mut response);
            read.expect_err(&format!("the server rejects the client, sent {sent:?}"))
        }
    };
    let stack = error
        .ssl_error()
        .unwrap_or_else(|| panic!("a reset instead of an alert: {error}"));
    let code = stack.errors().first().expect("an error").reason_code();
    (code - 1000, client)
}

/// A certificate of the server's development authority, valid between two times in days from now, and its key.
fn certificate(server: &Server, name: &str, from: i64, until: i64) -> (std::path::PathBuf, std::path::PathBuf) {
    let pki = server.data().join("pki");
    let read = |file: &str| fs::read(pki.join(file)).expect("the authority is there");
    let authority = X509::from_pem(&read("ca.crt")).expect("PEM");
    let authority_key = PKey::private_key_from_pem(&read("ca.key")).expect("PEM");
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("known");
    let key = PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key");
    let mut subject = X509NameBuilder::new().expect("a name");
    subject.append_entry_by_text("CN", name).expect("a name");
    let subject = subject.build();
    let day = |days: i64| {
        // The server has just started, so its file is of now.
        let started = fs::metadata(server.ready_file()).and_then(|file| file.modified());
        let started = started
            .expect("it is there")
            .duration_since(UNIX_EPOCH)
            .expect("after 1970");
        let seconds = i64::try_from(started.as_secs()).expect("a time of this age");
        Asn1Time::from_unix(seconds + days * 86_400).expect("a time")
    };
    let mut made = X509Builder::new().expect("OpenSSL is there");
    made.set_version(2).expect("version 3");
    let serial = openssl::bn::BigNum::from_u32(0x7e57).expect("a number");
    made.set_serial_number(&serial.to_asn1_integer().expect("a number"))
        .expect("a number");
    made.set_subject_name(&subject).expect("a name");
    made.set_issuer_name(authority.subject_name()).expect("a name");
    made.set_pubkey(&key).expect("a key");
    made.set_not_before(&day(from)).expect("a time");
    made.set_not_after(&day(until)).expect("a time");
    let usage = ExtendedKeyUsage::new().client_auth().build().expect("an extension");
    made.append_extension(usage).expect("an extension");
    made.sign(&authority_key, MessageDigest::sha256()).expect("signed");
    let file = |ending: &str| server.folder().join(format!("{name}.{ending}"));
    fs::write(file("crt"), made.build().to_pem().expect("PEM")).expect("written");
    fs::write(file("key"), key.private_key_to_pem_pkcs8().expect("PEM")).expect("written");
    (file("crt"), file("key"))
}

#[test]
fn every_documented_reason_is_on_the_metrics_page_from_the_start() {
    let document = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/DEPLOYMENT.md"));
    let document = document.expect("it is there");
    let chapter = document.split("## Rejected connections\n").nth(1);
    let chapter = chapter.and_then(|rest| rest.split("\n## ").next()).expect("a chapter");
    let rows = chapter
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let documented: Vec<_> = rows.map(|reason| format!("{{reason=\"{reason}\"}} 0")).collect();
    let page = Server::start().ready().get("/metrics").text();
    let series = "watchpost_tls_rejected_connections_total";
    let exported = page.lines().filter_map(|line| line.strip_prefix(series));
    let exported: BTreeSet<_> = exported.map(str::to_owned).collect();
    assert_eq!(exported, documented.into_iter().collect());
    assert!(exported.len() > 10, "{exported:?}");
    assert!(page.contains("watchpost_http_malformed_requests_total 0"), "{page}");
}

#[test]
fn a_client_without_a_certificate_always_gets_the_alert() {
    let server = Server::with(REQUIRED).ready();
    for _ in 0..20 {
        let (alert, _) = alert(server.secure, server.anonymous_client().tls());
        assert_eq!(alert, CERTIFICATE_REQUIRED);
    }
    let mut old = server.anonymous_client().tls();
    old.set_max_proto_version(Some(SslVersion::TLS1_2)).expect("known");
    assert_eq!(alert(server.secure, old).0, HANDSHAKE_FAILURE);
    assert_eq!(rejected(&server, "no_certificate"), 21.0);
    let lines = server.log_lines();
    let lines: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("reason=no_certificate"))
        .collect();
    assert!((1..=15).contains(&lines.len()), "the log is rate limited: {lines:#?}");
    assert!(lines[0].contains("suppressed=0"), "{}", lines[0]);
}

#[test]
fn the_log_names_a_client_without_a_certificate() {
    let server = Server::with(REQUIRED).ready();
    let (_, client) = alert(server.secure, server.anonymous_client().tls());
    line_about(&server, "no_certificate", client);
}

#[test]
fn a_client_of_an_unknown_authority_gets_the_alert() {
    let (server, other) = (Server::start().ready(), Server::fresh(""));
    let clients = other.data().join("pki/clients");
    let unknown = server
        .anonymous_client()
        .with_certificate(&clients.join("admin.crt"), &clients.join("admin.key"));
    let (alert, client) = alert(server.secure, unknown.tls());
    assert_eq!(alert, UNKNOWN_CA);
    let line = line_about(&server, "unknown_ca", client);
    assert!(line.contains("CN=admin"), "{line}");
    assert_eq!(rejected(&server, "unknown_ca"), 1.0);
}

#[test]
fn a_client_with_a_revoked_certificate_gets_the_alert() {
    let server = Server::with("[tls]\ncheck_interval = \"50ms\"").ready();
    let revoked = command(server.folder()).args(["certs", "revoke", "user"]).output();
    assert!(revoked.expect("it runs").status.success());
    server.logged("revocation lists reloaded");
    for version in [SslVersion::TLS1_3, SslVersion::TLS1_2] {
        let mut tls = server.client("user").tls();
        tls.set_max_proto_version(Some(version)).expect("known");
        let (alert, client) = alert(server.secure, tls);
        assert_eq!(alert, CERTIFICATE_REVOKED);
        let line = line_about(&server, "certificate_revoked", client);
        assert!(line.contains("CN=user,OU=user,O=Watchpost"), "{line}");
    }
    assert_eq!(rejected(&server, "certificate_revoked"), 2.0);
}

#[test]
fn a_client_of_an_authority_without_a_revocation_list_is_rejected() {
    let (listed, unlisted) = (Server::fresh(""), Server::fresh(""));
    let folder = tempfile::tempdir().expect("a folder");
    let pki = |server: &Server, file: &str| fs::read(server.data().join("pki").join(file)).expect("it is there");
    let both = [pki(&listed, "ca.crt"), pki(&unlisted, "ca.crt")].concat();
    fs::write(folder.path().join("both.crt"), both).expect("written");
    fs::write(folder.path().join("crl.pem"), pki(&listed, "crl.pem")).expect("written");
    let settings = "[tls]\nclient_ca = \"{folder}/both.crt\"\ncrl = \"{folder}/crl.pem\"";
    let server = Server::in_folder(folder, settings).ready();
    let client = |of: &Server| {
        let clients = of.data().join("pki/clients");
        let client = server.anonymous_client();
        client.with_certificate(&clients.join("admin.crt"), &clients.join("admin.key"))
    };
    assert_eq!(client(&listed).get("/health").status, 200);
    let (_, address) = alert(server.secure, client(&unlisted).tls());
    line_about(&server, "revocation_list_unusable", address);
}

#[test]
fn a_client_whose_certificate_is_not_valid_now_gets_the_alert() {
    let server = Server::start().ready();
    let check = |name: &str, from: i64, until: i64| {
        let (certificate, key) = certificate(&server, name, from, until);
        server.anonymous_client().with_certificate(&certificate, &key)
    };
    let valid = check("now", -1, 1);
    assert_eq!(valid.get("/health").status, 200, "the certificates are otherwise good");
    let (expired, client) = alert(server.secure, check("before", -3, -1).tls());
    assert_eq!(expired, CERTIFICATE_EXPIRED);
    let line = line_about(&server, "certificate_expired", client);
    assert!(line.contains("certificate=\"CN=before\" "), "{line}");
    let (early, client) = alert(server.secure, check("after", 1, 3).tls());
    assert_eq!(early, BAD_CERTIFICATE, "TLS has no alert for it");
    line_about(&server, "certificate_not_yet_valid", client);
    assert_eq!(rejected(&server, "certificate_expired"), 1.0);
    assert_eq!(rejected(&server, "certificate_not_yet_valid"), 1.0);
}

#[test]
fn a_certificate_for_servers_is_no_client_certificate() {
    let server = Server::start().ready();
    let pki = server.data().join("pki");
    let client = server
        .anonymous_client()
        .with_certificate(&pki.join("server.crt"), &pki.join("server.key"));
    let (_, address) = alert(server.secure, client.tls());
    line_about(&server, "bad_certificate", address);
    assert_eq!(rejected(&server, "bad_certificate"), 1.0);
}

#[test]
fn a_client_with_an_old_version_of_tls_gets_the_alert() {
    let server = Server::start().ready();
    let mut old = server.client("reader").tls();
    old.set_min_proto_version(Some(SslVersion::TLS1_1)).expect("known");
    old.set_max_proto_version(Some(SslVersion::TLS1_1)).expect("known");
    old.set_cipher_list("ALL:@SECLEVEL=0").expect("known");
    let (alert, client) = alert(server.secure, old);
    assert_eq!(alert, PROTOCOL_VERSION);
    line_about(&server, "protocol_version", client);
    assert_eq!(rejected(&server, "protocol_version"), 1.0);
}

#[test]
fn a_client_without_a_shared_cipher_gets_the_alert() {
    let server = Server::start().ready();
    let mut weak = server.client("reader").tls();
    weak.set_max_proto_version(Some(SslVersion::TLS1_2)).expect("known");
    weak.set_cipher_list("AES128-SHA").expect("known");
    let (alert, client) = alert(server.secure, weak);
    assert_eq!(alert, HANDSHAKE_FAILURE);
    line_about(&server, "no_shared_cipher", client);
    assert_eq!(rejected(&server, "no_shared_cipher"), 1.0);
}

#[test]
fn a_client_that_distrusts_the_server_is_logged_with_its_alert() {
    let (server, other) = (Server::start().ready(), Server::fresh(""));
    let distrustful = Client::new(server.secure, &other.data().join("pki/ca.crt"));
    assert!(distrustful.try_ask("GET", "/health").is_err());
    let line = server.logged("reason=client_alert");
    assert!(line.contains("alert=unknown_ca"), "{line}");
    assert_eq!(rejected(&server, "client_alert"), 1.0);
}

#[test]
fn plain_http_on_a_tls_port_is_answered_with_a_hint() {
    let server = Server::start().ready();
    // Also if the request does not arrive at once, and is larger than what the server reads of it.
    let large = format!("POST / HTTP/1.1\r\nhost: localhost\r\n\r\n{}", "x".repeat(30_000));
    for parts in [
        vec!["GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"],
        vec!["P", "ATCH /api/v1/chunks/1 HT", "TP/1.1\r\n\r\n"],
        vec![large.as_str()],
    ] {
        let mut stream = connect(server.secure);
        stream.set_nodelay(true).expect("a socket");
        let client = stream.local_addr().expect("it is connected");
        for part in &parts {
            stream.write_all(part.as_bytes()).expect("the server reads");
        }
        let mut response = String::new();
        stream
            .read_to_string(&mut response)
            .expect("a response and a clean end");
        assert!(response.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{response}");
        let (_, body) = response.split_once("\r\n\r\n").expect("a head and a body");
        assert_eq!(
            body,
            "This listener serves HTTPS only; use https:// instead of http://.\n"
        );
        line_about(&server, "plain_http", client);
    }
    assert_eq!(rejected(&server, "plain_http"), 3.0);
    let curl = Command::new("curl")
        .args(["--silent", "--show-error", "--write-out", "%{http_code}"])
        .arg(format!("http://{}/health", server.secure))
        .output()
        .expect("curl runs");
    let shown = String::from_utf8_lossy(&curl.stdout);
    assert!(curl.status.success() && shown.ends_with("\n400"), "{shown}");
    assert!(shown.contains("use https://"), "{shown}");
}

#[test]
fn other_protocols_on_a_tls_port_are_rejected() {
    let server = Server::start().ready();
    for bytes in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        &b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\r\n"[..],
    ] {
        let mut stream = connect(server.secure);
        let client = stream.local_addr().expect("it is connected");
        stream.write_all(bytes).expect("the server reads");
        let mut response = Vec::new();
        stream.read_to_end(&mut response).expect("a clean end");
        assert!(!response.starts_with(b"HTTP"), "{response:?}");
        line_about(&server, "not_tls", client);
    }
    assert_eq!(rejected(&server, "not_tls"), 2.0);
}

#[test]
fn a_handshake_that_takes_too_long_is_ended() {
    let server = Server::with("[http]\nheader_timeout = \"300ms\"").ready();
    // The second one stops in the middle of a record.
    for begin in [&b""[..], &b"\x16\x03\x01\x02\x00\x01"[..]] {
        let mut stream = connect(server.secure);
        let client = stream.local_addr().expect("it is connected");
        stream.write_all(begin).expect("the server reads");
        let mut response = Vec::new();
        stream.read_to_end(&mut response).expect("a clean end");
        line_about(&server, "handshake_timeout", client);
    }
    assert_eq!(rejected(&server, "handshake_timeout"), 2.0);
}

#[test]
fn a_connection_that_ends_in_the_handshake_is_counted_but_a_port_check_is_not() {
    let server = Server::start().ready();
    for _ in 0..5 {
        drop(connect(server.secure));
    }
    let mut stream = connect(server.secure);
    let client = stream.local_addr().expect("it is connected");
    stream.write_all(b"\x16\x03\x01\x02\x00\x01").expect("the server reads");
    stream.shutdown(Shutdown::Write).expect("it is open");
    line_about(&server, "connection_closed", client);
    assert_eq!(
        rejected(&server, "connection_closed"),
        1.0,
        "port checks are not counted"
    );
    let lines = server.log_lines();
    let about = lines.iter().filter(|line| line.contains("rejected a TLS connection"));
    assert_eq!(about.count(), 1, "{lines:#?}");
}

#[test]
fn a_rejected_client_that_stays_is_disconnected() {
    let server = Server::with(REQUIRED).ready();
    let mut stream = connect(server.secure);
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .expect("the server reads");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("a response");
    // The client keeps its half open; the server must not keep the other one.
    let refused = eventually("the end of the connection", || {
        stream.write_all(b"x").err().map(|error| error.kind())
    });
    assert!(
        matches!(refused, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset),
        "{refused:?}"
    );
}

#[test]
fn malformed_requests_are_counted_and_logged_with_the_address_of_the_client() {
    let server = Server::start().ready();
    let chunked = "POST /api/v1/chunks HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                   transfer-encoding: chunked\r\n\r\n";
    let long = "x".repeat(200_000);
    let requests = [
        ("GET /two words HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(), "400"),
        ("G\u{7f}T / HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n".to_owned(), "400"),
        (
            "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx".to_owned(),
            "400",
        ),
        // The response to the head is written before the body is read.
        (format!("{chunked}ZZ\r\n"), "401"),
        (format!("{chunked}ffffffffffffffff1\r\n"), "401"),
        (format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {long}\r\n\r\n"), "431"),
        (
            format!(
                "GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\nconnection: close\r\n\r\n",
                &long[..20_000]
            ),
            "431",
        ),
    ];
    for (at, (request, status)) in requests.iter().enumerate() {
        let shown = &request[..request.len().min(120)];
        let mut stream = connect(server.plain);
        let client = stream.local_addr().expect("it is connected");
        // A client that is refused early may be unable to send everything.
        let _ = stream.write_all(request.as_bytes());
        let mut response = Vec::new();
        // After a reset, the bytes so far are the response.
        let _ = stream.read_to_end(&mut response);
        let response = String::from_utf8_lossy(&response).into_owned();
        if !response.is_empty() {
            assert_eq!(response.split(' ').nth(1), Some(*status), "{shown}");
        }
        eventually(&format!("the count of {shown}"), || {
            (malformed(&server) == at as f64 + 1.0).then_some(())
        });
        // The log line exists unless the limit suppressed it.
        let lines = server.log_lines();
        let about = |line: &&String| line.contains("rejected a malformed request");
        if lines.iter().filter(about).count() < 5 || at < 5 {
            let line = server.logged(&format!("peer={client} "));
            assert!(
                line.contains("rejected a malformed request") && line.contains("WARN"),
                "{line}"
            );
        }
    }
    // A handler waits for this body.
    let mut connection = server.client("admin").connect().expect("it answers");
    connection
        .send(format!("{chunked}5\r\n[{{}}, \r\nZZ\r\n").as_bytes())
        .expect("the server reads");
    connection.rest();
    eventually("the count of the chunk in a body", || {
        (malformed(&server) == requests.len() as f64 + 1.0).then_some(())
    });
    let lines = server.log_lines();
    assert!(
        lines.iter().all(|line| !line.contains("stream error")),
        "the framework's own line has no address: {lines:#?}"
    );
}

#[test]
fn a_client_that_disconnects_in_a_body_sent_nothing_malformed() {
    let server = Server::start().ready();
    for begin in [
        "POST /api/v1/chunks HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\nhalf",
        "POST /api/v1/chunks HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n5\r\nha",
        "GET /health HT",
    ] {
        let mut stream = connect(server.plain);
        stream.write_all(begin.as_bytes()).expect("the server reads");
        stream.shutdown(Shutdown::Write).expect("it is open");
        let mut response = Vec::new();
        let _ = stream.read_to_end(&mut response);
    }
    // Neither did clients with complete requests that keep or close their connections.
    let client = server.plain_client();
    let mut kept = client.connect().expect("it answers");
    for _ in 0..3 {
        assert_eq!(kept.ask("GET", "/health").expect("an answer").status, 200);
    }
    drop(kept);
    assert_eq!(malformed(&server), 0.0);
}

#[test]
fn a_violation_of_http_2_is_a_malformed_request() {
    let server = Server::start().ready();
    let mut tls = server.client("admin").tls();
    tls.set_alpn_protos(b"\x02h2").expect("a protocol");
    let mut connection = server
        .client("admin")
        .connect_by(Some(&tls.build()))
        .expect("it answers");
    // A frame of DATA on a stream that does not exist.
    let _ = connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x01\0\0\0\0\0\x09x");
    connection.rest();
    let line = server.logged("rejected a malformed request");
    assert!(line.contains("violation of the HTTP/2 protocol"), "{line}");
    assert_eq!(malformed(&server), 1.0);
}
