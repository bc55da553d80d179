//! TLS: client authentication, identities, and replacing certificates at run time.

use std::fs;
use std::io::Write;
use std::process::Command;

use openssl::ssl::{SslContextBuilder, SslVersion};
use watchpost_tests::authority::Holder;
use watchpost_tests::http::{Answer, Client, shake_hands};
use watchpost_tests::server::{Server, command, configure, eventually};

const FAST: &str = "[tls]\ncheck_interval = \"50ms\"\n";

fn certs(server: &Server, arguments: &[&str]) -> String {
    let output = command(server.folder())
        .arg("certs")
        .args(arguments)
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_certificate_of_an_unknown_authority_is_refused() {
    let (server, other) = (Server::start(), Server::fresh(""));
    let clients = other.data().join("pki/clients");
    let untrusted = server
        .anonymous_client()
        .with_certificate(&clients.join("admin.crt"), &clients.join("admin.key"));
    assert!(untrusted.try_ask("GET", "/health").is_err());
    assert_eq!(server.anonymous_client().get("/health").status, 200);
    assert_eq!(server.client("reader").get("/health").status, 200);
}

#[test]
fn a_listener_that_requires_a_certificate_refuses_clients_without_one() {
    let server = Server::with(
        "listeners = [{ address = \"127.0.0.1:0\", client_auth = \"required\" }, { address = \"127.0.0.1:0\", tls = false }]",
    );
    assert!(server.anonymous_client().try_ask("GET", "/health").is_err());
    assert_eq!(server.client("agent").get("/health").status, 200);
    assert_eq!(server.plain_client().get("/health").status, 200);
}

#[test]
fn a_listener_without_client_auth_requests_no_certificate() {
    let server = Server::with(
        "listeners = [{ address = \"127.0.0.1:0\", client_auth = \"off\" }, { address = \"127.0.0.1:0\", tls = false }]",
    );
    let who = server.client("admin").get("/api/v1/whoami").json();
    assert_eq!(who["roles"], serde_json::json!(["anonymous"]));
}

#[test]
fn old_versions_of_tls_are_refused() {
    let server = Server::start();
    let speaks = |version: SslVersion| {
        let mut tls = server.client("reader").tls();
        tls.set_min_proto_version(Some(version)).expect("known");
        tls.set_max_proto_version(Some(version)).expect("known");
        tls.set_cipher_list("ALL:@SECLEVEL=0").expect("known");
        let stream = std::net::TcpStream::connect(server.secure).expect("it listens");
        shake_hands(&tls.build(), stream).is_ok()
    };
    assert!(speaks(SslVersion::TLS1_3) && speaks(SslVersion::TLS1_2));
    assert!(!speaks(SslVersion::TLS1_1) && !speaks(SslVersion::TLS1));
    let strict = Server::with("[tls]\nmin_version = \"1.3\"");
    let mut tls = strict.client("reader").tls();
    tls.set_max_proto_version(Some(SslVersion::TLS1_2)).expect("known");
    let stream = std::net::TcpStream::connect(strict.secure).expect("it listens");
    assert!(shake_hands(&tls.build(), stream).is_err());
}

/// Whether a handshake succeeds with only this group or cipher suite of the client.
fn shares(server: &Server, change: impl FnOnce(&mut SslContextBuilder)) -> bool {
    let mut tls = server.anonymous_client().tls();
    change(&mut tls);
    let stream = std::net::TcpStream::connect(server.secure).expect("it listens");
    shake_hands(&tls.build(), stream).is_ok()
}

#[test]
fn groups_and_ciphers_are_those_of_the_settings_and_by_default_those_of_mozilla_intermediate() {
    let group = |server: &Server, name: &str| shares(server, |tls| tls.set_groups_list(name).expect("known"));
    let cipher = |server: &Server, name: &str| {
        shares(server, |tls| {
            tls.set_max_proto_version(Some(SslVersion::TLS1_2)).expect("known");
            tls.set_cipher_list(&format!("{name}:@SECLEVEL=0")).expect("known");
        })
    };
    let usual = Server::start();
    for name in ["X25519", "P-256", "P-384"] {
        assert!(group(&usual, name), "{name}");
    }
    for name in ["X448", "P-521"] {
        assert!(!group(&usual, name), "{name}");
    }
    assert!(cipher(&usual, "ECDHE-ECDSA-AES128-GCM-SHA256"));
    assert!(!cipher(&usual, "ECDHE-ECDSA-AES128-SHA"));
    let other = Server::with("[tls]\ngroups = [\"P-521\"]\nciphers = [\"ECDHE-ECDSA-AES256-GCM-SHA384\"]\n");
    assert!(group(&other, "P-521") && !group(&other, "X25519"));
    assert!(cipher(&other, "ECDHE-ECDSA-AES256-GCM-SHA384"));
    assert!(!cipher(&other, "ECDHE-ECDSA-AES128-GCM-SHA256"));
    for wrong in [
        "groups = [\"P-999\"]",
        "ciphers = [\"ALL:@SECLEVEL=0\"]",
        "cipher_suites = []",
        "limited_proxies = true",
    ] {
        let key = wrong.split(' ').next().expect("a key");
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("watchpost.toml"), format!("[tls]\n{wrong}\n")).expect("written");
        let output = command(folder.path()).output().expect("it runs");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{stderr}");
        assert!(stderr.contains(&format!("tls.{key}")), "{stderr}");
    }
}

#[test]
fn browsers_receive_hsts_only_where_the_certificate_is_not_a_development_one() {
    let hsts = |answer: &Answer| answer.header("strict-transport-security").map(str::to_owned);
    let usual = Server::start().ready();
    assert_eq!(
        hsts(&usual.anonymous_client().get("/health")),
        None,
        "other programs are localhost, too"
    );
    let pki = usual.data().join("pki").display().to_string();
    let folder = usual.stop();
    let own = format!("[tls]\ncertificate = \"{pki}/server.crt\"\nkey = \"{pki}/server.key\"\n");
    configure(folder.path(), &own);
    let server = Server::prepared(folder).ready();
    let two_years = Some("max-age=63072000".to_owned());
    assert_eq!(hsts(&server.anonymous_client().get("/health")), two_years);
    assert_eq!(
        hsts(&server.anonymous_client().get("/metrics")),
        two_years,
        "errors have it, too"
    );
    assert_eq!(hsts(&server.plain_client().get("/health")), None);
    let set = Server::with("[tls]\nhsts_max_age = \"1d\"\n").ready();
    assert_eq!(
        hsts(&set.anonymous_client().get("/health")),
        Some("max-age=86400".to_owned())
    );
}

#[test]
fn a_server_certificate_that_is_not_valid_yet_does_not_prevent_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = Holder::root("CN=Root");
    let (certificate, key) = root
        .issue("CN=localhost", &["localhost"], 3600..86_400)
        .write(folder.path(), "server");
    let settings = format!(
        "[tls]\ncertificate = \"{}\"\nkey = \"{}\"\n",
        certificate.display(),
        key.display()
    );
    let server = Server::in_folder(folder, &settings).ready();
    server.logged("the server certificate is not valid yet");
    assert!(
        server.anonymous_client().try_ask("GET", "/health").is_err(),
        "clients reject it"
    );
    let output = command(server.folder()).arg("check").output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains("is not valid before") && text.contains("tls.certificate"),
        "{text}"
    );
}

#[test]
fn http_2_is_negotiated_on_request() {
    let server = Server::start().ready();
    let pki = server.data().join("pki");
    let speaks = |version: &str| {
        let output = Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                version,
                "--write-out",
                "%{http_version} %{http_code}",
                "--output",
                "/dev/null",
            ])
            .arg("--cacert")
            .arg(pki.join("ca.crt"))
            .arg("--cert")
            .arg(pki.join("clients/reader.crt"))
            .arg("--key")
            .arg(pki.join("clients/reader.key"))
            .arg(format!("https://localhost:{}/api/v1/status", server.secure.port()))
            .output()
            .expect("curl runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(speaks("--http2"), "2 200");
    assert_eq!(speaks("--http1.1"), "1.1 200");
}

#[test]
fn certificates_are_replaced_together_and_no_connection_is_dropped() {
    let server = Server::with(FAST).ready();
    let pki = server.data().join("pki");
    let mut old = server.client("admin").connect().expect("it answers");
    assert_eq!(old.ask("GET", "/health").expect("an answer").status, 200);

    // A completely new authority, copied file by file with delays.
    let other = Server::fresh("");
    let theirs = other.data().join("pki");
    fs::copy(theirs.join("server.crt"), pki.join("server.crt")).expect("copied");
    server.logged("does not belong to the certificate");
    assert_eq!(
        server.client("admin").get("/health").status,
        200,
        "the last valid ones stay in use"
    );
    for file in ["server.key", "crl.pem", "ca.crt"] {
        fs::copy(theirs.join(file), pki.join(file)).expect("copied");
    }
    server.logged("revocation lists reloaded");
    assert_eq!(
        old.ask("GET", "/health").expect("the connection lives").status,
        401,
        "its certificate counts no more"
    );
    let new = other.client("admin");
    let clients = theirs.join("clients");
    let new_here = Client::new(server.secure, &theirs.join("ca.crt"))
        .with_certificate(&clients.join("admin.crt"), &clients.join("admin.key"));
    assert_eq!(new_here.get("/api/v1/status").status, 200);
    assert_eq!(new.get("/api/v1/status").status, 200);
    let metrics = new_here.get("/metrics").text();
    assert!(
        metrics.contains("watchpost_tls_reloads_total{outcome=\"success\"} 1"),
        "{metrics}"
    );
}

#[test]
fn a_revoked_client_is_refused_at_once_on_every_connection() {
    let server = Server::with(FAST).ready();
    let user = server.client("user");
    let mut open = user.connect().expect("it answers");
    assert_eq!(open.ask("GET", "/api/v1/status").expect("an answer").status, 200);

    // A session from before, to resume later.
    for version in ["-tls1_2", "-tls1_3"] {
        let before = come_back(&server, &[version, "-sess_out", version]);
        assert!(before.contains("New, TLSv1."), "{before}");
        let again = come_back(&server, &[version, "-sess_in", version]);
        assert!(
            again.contains("Reused, TLSv1."),
            "otherwise what follows shows nothing: {again}"
        );
    }

    certs(&server, &["revoke", "user"]);
    server.logged("revocation lists reloaded");
    let refused = open.ask("GET", "/api/v1/status").expect("the connection lives");
    assert!(refused.problem(401).contains("revoked"), "{}", refused.text());
    assert!(user.try_ask("GET", "/health").is_err());
    for version in ["-tls1_2", "-tls1_3"] {
        let resumed = come_back(&server, &[version, "-sess_in", version]);
        assert!(
            !resumed.contains("Reused"),
            "a session from before admits no client: {resumed}"
        );
    }
    assert_eq!(
        server.client("reader").get("/api/v1/status").status,
        200,
        "others are not concerned"
    );

    let again = certs(&server, &["issue", "user", "--role", "user"]);
    assert!(again.contains("curl"), "{again}");
    eventually("the new certificate", || {
        (server.client("user").get("/api/v1/status").status == 200).then_some(())
    });
}

#[test]
fn a_proxy_certificate_has_the_identity_of_its_owner_if_allowed() {
    let allowed = Server::with("[tls]\nproxy_certificates = true").ready();
    let proxy = make_proxy(&allowed, "user");
    let client = allowed.anonymous_client().with_certificate(&proxy.0, &proxy.1);
    let who = client.get("/api/v1/whoami").json();
    assert_eq!(who["identity"]["subject"], "CN=user,OU=user,O=Watchpost", "{who}");
    assert_eq!(who["roles"][0], "user");

    // A certificate next to the real one, with its name and one more component, is no proxy certificate.
    let forged = allowed.folder().join("forged.crt");
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "/dev/null",
        ])
        .args([
            "-subj",
            "/O=Watchpost/OU=user/CN=user",
            "-addext",
            "subjectAltName=email:admin@example.org",
            "-out",
        ])
        .arg(&forged)
        .output()
        .expect("openssl runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let pem = fs::read_to_string(&proxy.0).expect("read");
    let (first, rest) = pem.split_at(pem.find("-----END").expect("PEM") + "-----END CERTIFICATE-----\n".len());
    let forged = fs::read_to_string(&forged).expect("read");
    fs::write(&proxy.0, [first, &forged, rest].concat()).expect("written");
    let again = client.get("/api/v1/whoami").json();
    assert_eq!(again["identity"], who["identity"]);

    let usual = Server::start();
    let proxy = make_proxy(&usual, "user");
    assert!(
        usual
            .anonymous_client()
            .with_certificate(&proxy.0, &proxy.1)
            .try_ask("GET", "/health")
            .is_err()
    );
}

/// A handshake of the client `user` with `openssl s_client`, and its output.
fn come_back(server: &Server, arguments: &[&str]) -> String {
    let pki = server.data().join("pki");
    let mut child = Command::new("openssl")
        .args(["s_client", "-ign_eof", "-connect", &server.secure.to_string()])
        .arg("-CAfile")
        .arg(pki.join("ca.crt"))
        .arg("-cert")
        .arg(pki.join("clients/user.crt"))
        .arg("-key")
        .arg(pki.join("clients/user.key"))
        .args(arguments)
        .current_dir(server.folder())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("openssl starts");
    // With TLS 1.3 the session ticket follows the handshake, so the client must wait for a response.
    let mut input = child.stdin.take().expect("piped");
    // A refused client does not read its input.
    let _ = input.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let output = child.wait_with_output().expect("it ends");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// An RFC 3820 proxy certificate of a client and its key, made with the openssl command.
fn make_proxy(server: &Server, name: &str) -> (std::path::PathBuf, std::path::PathBuf) {
    let (clients, folder) = (server.data().join("pki/clients"), server.folder());
    let (owner, owner_key) = (clients.join(format!("{name}.crt")), clients.join(format!("{name}.key")));
    let (key, request, proxy) = (
        folder.join("proxy.key"),
        folder.join("proxy.csr"),
        folder.join("proxy.crt"),
    );
    fs::write(
        folder.join("proxy.cnf"),
        "[ext]\nbasicConstraints=CA:FALSE\nproxyCertInfo=critical,language:id-ppl-inheritAll\n\
         keyUsage=critical,digitalSignature\n",
    )
    .expect("written");
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(folder)
            .output()
            .expect("openssl runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let text = |path: &std::path::Path| path.display().to_string();
    let subject = format!("/O=Watchpost/OU={name}/CN={name}/CN=1234567");
    openssl(&[
        "req",
        "-new",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        &text(&key),
        "-out",
        &text(&request),
        "-subj",
        &subject,
    ]);
    openssl(&[
        "x509",
        "-req",
        "-in",
        &text(&request),
        "-CA",
        &text(&owner),
        "-CAkey",
        &text(&owner_key),
        "-set_serial",
        "1234567",
        "-days",
        "1",
        "-out",
        &text(&proxy),
        "-extfile",
        "proxy.cnf",
        "-extensions",
        "ext",
    ]);
    let chain = [fs::read(&proxy).expect("read"), fs::read(&owner).expect("read")].concat();
    fs::write(&proxy, chain).expect("written");
    (proxy, key)
}

#[test]
fn replacing_only_the_server_certificate_keeps_the_tls_generation() {
    let server = Server::with(FAST).ready();
    let key = server.data().join("pki/server.key");
    let before = fs::read(&key).expect("read");
    let generation = || server.get("/api/v1/status").json()["tls"]["generation"].clone();
    let first = generation();
    fs::remove_file(&key).expect("removed");
    server.logged("cannot reload certificates");
    assert_eq!(server.get("/health").status, 200, "the last good one stays");
    fs::write(&key, [before, b"\n".to_vec()].concat()).expect("written");
    server.logged("revocation lists reloaded");
    assert_eq!(generation(), first);
}

#[test]
fn an_encrypted_key_is_refused_without_a_passphrase_prompt() {
    let server = Server::start().ready();
    let key = server.data().join("pki/server.key");
    let folder = server.stop();
    let status = Command::new("openssl")
        .args(["ec", "-aes256", "-passout", "pass:secret", "-in"])
        .arg(folder.path().join("data/pki/server.key"))
        .arg("-out")
        .arg(folder.path().join("locked.key"))
        .stderr(std::process::Stdio::null())
        .status();
    assert!(status.expect("openssl runs").success());
    let data = folder.path().join("data/pki").display().to_string();
    let settings = format!(
        "[tls]\ncertificate = \"{data}/server.crt\"\nkey = \"{}/locked.key\"\nclient_ca = \"{data}/ca.crt\"",
        folder.path().display()
    );
    fs::write(folder.path().join("watchpost.toml"), settings).expect("written");
    let output = command(folder.path()).output().expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{stderr}");
    assert!(stderr.contains("without a passphrase"), "{stderr} {}", key.display());
}

#[test]
fn a_certificate_that_expires_soon_is_a_metric_and_a_warning() {
    let server = Server::with("[tls]\nexpiry_warning = \"3650d\"\ncheck_interval = \"50ms\"").ready();
    server.logged("expires soon");
    let metrics = server.get("/metrics").text();
    for kind in ["server", "ca", "crl"] {
        let mark = format!("watchpost_tls_certificate_expiry_timestamp_seconds{{kind=\"{kind}\"}} ");
        assert!(metrics.contains(&mark), "{mark}\n{metrics}");
    }
}
