//! Behind a front end that terminates TLS: its client headers are used only if it is trusted.

use std::fs;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use openssl::hash::MessageDigest;
use openssl::x509::X509;
use watchpost_tests::authority::{A_DAY, Holder};
use watchpost_tests::http::Client;
use watchpost_tests::nginx::Nginx;
use watchpost_tests::server::{Server, command};

const TRUSTING: &str = "[http]\ntrusted_proxies = [\"127.0.0.1\"]";

fn client_cert(server: &Server, name: &str) -> String {
    let pem = fs::read(server.data().join(format!("pki/clients/{name}.crt"))).expect("it is there");
    let der = openssl::x509::X509::from_pem(&pem)
        .and_then(|certificate| certificate.to_der())
        .expect("it is one");
    format!(":{}:", BASE64_STANDARD.encode(der))
}

#[test]
fn client_headers_from_an_untrusted_peer_are_ignored() {
    let server = Server::start().ready();
    let forger = server
        .plain_client()
        .with("client-cert", &client_cert(&server, "admin"))
        .with("x-forwarded-proto", "https")
        .with("x-forwarded-host", "evil.example.org")
        .with("x-forwarded-for", "10.1.2.3");
    let who = forger.get("/api/v1/whoami").json();
    assert_eq!(
        (who["roles"].clone(), who["address"].clone()),
        (serde_json::json!(["anonymous"]), "127.0.0.1".into())
    );
    let index = forger.get("/wm_resource_monitor/api").json();
    assert_eq!(
        index["endpoints"]["status"],
        "http://localhost/wm_resource_monitor/api/status"
    );
}

#[test]
fn a_trusted_front_end_forwards_client_identities() {
    let server = Server::with(TRUSTING).ready();
    let proxy = server
        .plain_client()
        .with("x-forwarded-for", "6.6.6.6, 10.1.2.3")
        .with("x-forwarded-proto", "https")
        .with("x-forwarded-host", "cmsweb.example.org");
    let who = proxy
        .clone()
        .with("client-cert", &client_cert(&server, "reader"))
        .get("/api/v1/whoami")
        .json();
    assert_eq!(
        (who["roles"][0].clone(), who["address"].clone()),
        ("reader".into(), "10.1.2.3".into())
    );
    let index = proxy.get("/wm_resource_monitor/api").json();
    assert_eq!(
        index["endpoints"]["metrics"],
        "https://cmsweb.example.org/wm_resource_monitor/api/metrics"
    );
    assert_eq!(proxy.get("/metrics").status, 401, "no certificate, no identity");

    let broken = proxy.clone().with("client-cert", ":!:").get("/health");
    assert!(broken.problem(400).contains("RFC 9440"));
    let other = Server::fresh("");
    let foreign = proxy
        .clone()
        .with("client-cert", &client_cert(&other, "admin"))
        .get("/health");
    assert!(foreign.problem(401).contains("not accepted"), "{}", foreign.text());
}

/// A server that trusts front ends on this machine with one of these certificates, and a folder for the files of clients.
fn trusting(certificates: &str, root: &Holder) -> Server {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("clients.pem"), root.pem()).expect("written");
    let settings = format!(
        "[http]\nrequests_per_second = 0\ntrusted_proxies = [\"127.0.0.1\"]\ntrusted_proxy_certificates = [{certificates}]\n\
         [tls]\nclient_ca = \"{}/clients.pem\"\n\
         [[rules.role.identities]]\nmatch = {{ attributes = {{ OU = \"admin\" }} }}\nroles = [\"admin\"]\n",
        folder.path().display()
    );
    Server::in_folder(folder, &settings).ready()
}

fn client(server: &Server, holder: &Holder, name: &str) -> Client {
    let (certificate, key) = holder.write(server.folder(), name);
    server.anonymous_client().with_certificate(&certificate, &key)
}

fn byte_sequence(certificate: &X509) -> String {
    format!(":{}:", BASE64_STANDARD.encode(certificate.to_der().expect("DER")))
}

#[test]
fn a_front_end_is_trusted_by_its_certificate_and_not_by_its_address_alone() {
    let root = Holder::root("CN=Root");
    let by_name = root.issue("CN=front", &["proxy.example.org"], A_DAY);
    let by_fingerprint = root.issue("CN=other front", &[], A_DAY);
    let alice = root.issue("CN=alice,OU=admin", &["alice.example.org"], A_DAY);
    let fingerprint = by_fingerprint.certificate.digest(MessageDigest::sha256());
    let fingerprint: String = fingerprint
        .expect("a digest")
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let server = trusting(&format!("\"Proxy.example.org\", \"{fingerprint}\""), &root);
    let forwarding = |client: Client| {
        client
            .with("client-cert", &byte_sequence(&alice.certificate))
            .with("x-forwarded-for", "10.1.2.3")
    };
    for (front_end, name) in [(&by_name, "by-name"), (&by_fingerprint, "by-fingerprint")] {
        let who = forwarding(client(&server, front_end, name))
            .get("/api/v1/whoami")
            .json();
        assert_eq!(who["identity"]["subject"], "CN=alice,OU=admin", "{who}");
        assert_eq!(
            (who["roles"][0].as_str(), who["address"].as_str()),
            (Some("admin"), Some("10.1.2.3")),
            "{who}"
        );
    }
    // The address is trusted, and the certificate is missing or another one.
    let mallory = root.issue("CN=mallory", &["mallory.example.org"], A_DAY);
    let none = [
        server.plain_client(),
        server.anonymous_client(),
        client(&server, &mallory, "mallory"),
    ];
    for other in none {
        let who = forwarding(other).get("/api/v1/whoami").json();
        assert_eq!(who["roles"], serde_json::json!(["anonymous"]), "{who}");
        assert_eq!(who["address"], "127.0.0.1", "{who}");
    }
    // Without a forwarded certificate the client is anonymous: the front end's own does not count.
    let who = client(&server, &by_name, "by-name").get("/api/v1/whoami").json();
    assert_eq!(who["identity"]["kind"], "anonymous", "{who}");
    let quiet = server
        .log_lines()
        .iter()
        .all(|line| !line.contains("http.trusted_proxies"));
    assert!(quiet, "there is nothing to warn about");
}

#[test]
fn trust_in_an_address_alone_is_a_warning_at_the_start_and_in_the_check() {
    let server = Server::with(TRUSTING).ready();
    let line = server.logged("can claim any client's certificate");
    assert!(
        line.contains("http.trusted_proxy_certificates") && line.contains("127.0.0.1"),
        "{line}"
    );
    let output = command(server.folder()).arg("check").output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        text.contains("http.trusted_proxies") && text.contains("can claim any client's certificate"),
        "{text}"
    );
}

#[test]
fn a_forwarded_chain_completes_the_verification_and_has_a_limit() {
    let root = Holder::root("CN=Root");
    let issuing = root.intermediate("CN=Issuing");
    let front = root.issue("CN=front", &["proxy.example.org"], A_DAY);
    let alice = issuing.issue("CN=alice,OU=admin", &[], A_DAY);
    let server = trusting("\"proxy.example.org\"", &root);
    let front = client(&server, &front, "front").with("client-cert", &byte_sequence(&alice.certificate));
    let reason = front.get("/api/v1/whoami").problem(401);
    assert!(
        reason.contains("not accepted"),
        "the issuing authority is unknown: {reason}"
    );
    let (issuing, root) = (byte_sequence(&issuing.certificate), byte_sequence(&root.certificate));
    let with = |chain: &str| front.clone().with("client-cert-chain", chain).get("/api/v1/whoami");
    for chain in [
        issuing.clone(),
        format!("{issuing}, {root}"),
        [issuing.as_str(); 10].join(","),
    ] {
        let who = with(&chain).json();
        assert_eq!(who["identity"]["subject"], "CN=alice,OU=admin", "{who}");
    }
    let two_headers = front
        .clone()
        .with("client-cert-chain", &root)
        .with("client-cert-chain", &issuing);
    assert_eq!(two_headers.get("/api/v1/whoami").status, 200);
    for chain in [
        [issuing.as_str(); 11].join(","),
        ":!:".to_owned(),
        ":AAAA:".to_owned(),
        issuing.replace(':', ""),
    ] {
        let reason = with(&chain).problem(400);
        assert!(
            reason.contains("Client-Cert-Chain") && reason.contains("at most 10"),
            "{reason}"
        );
    }
    let alone = client(&server, &Holder::root("CN=Unknown"), "unknown");
    assert!(alone.try_ask("GET", "/health").is_err());
}

#[test]
fn clients_of_a_real_nginx_are_recognised() {
    let server = Server::with(TRUSTING).ready();
    let pki = server.data().join("pki");
    let http = r#"map $ssl_client_raw_cert $one_line {
                "~^-+BEGIN CERTIFICATE-+\s+(?<l1>[^-\s]+)\s+(?<l2>[^-\s]*)\s*(?<l3>[^-\s]*)\s*(?<l4>[^-\s]*)\s*(?<l5>[^-\s]*)\s*(?<l6>[^-\s]*)\s*(?<l7>[^-\s]*)\s*(?<l8>[^-\s]*)\s*(?<l9>[^-\s]*)\s*(?<m1>[^-\s]*)\s*(?<m2>[^-\s]*)\s*(?<m3>[^-\s]*)\s*(?<m4>[^-\s]*)\s*(?<m5>[^-\s]*)\s*(?<m6>[^-\s]*)\s*-+END" ":$l1$l2$l3$l4$l5$l6$l7$l8$l9$m1$m2$m3$m4$m5$m6:";
            }"#;
    let text = format!(
        "listen {{listen}} ssl;
        ssl_certificate {pki}/server.crt; ssl_certificate_key {pki}/server.key;
        ssl_client_certificate {pki}/ca.crt; ssl_verify_client optional;
        location / {{
            proxy_pass http://{plain};
            proxy_set_header Client-Cert $one_line;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host;
        }}",
        pki = pki.display(),
        plain = server.plain,
    );
    let nginx = Nginx::start(&server.folder().join("nginx"), http, &text);
    let address = nginx.address;
    let client = |name: &str| {
        let file = |ending: &str| pki.join(format!("clients/{name}.{ending}"));
        Client::new(address, &pki.join("ca.crt")).with_certificate(&file("crt"), &file("key"))
    };
    for name in ["admin", "user", "reader", "agent"] {
        let who = client(name).get("/api/v1/whoami").json();
        assert_eq!(who["roles"][0], name, "{who}");
    }
    let anonymous = Client::new(address, &pki.join("ca.crt"));
    assert_eq!(
        anonymous.get("/api/v1/whoami").json()["roles"],
        serde_json::json!(["anonymous"])
    );
    let forger = anonymous.with("client-cert", &client_cert(&server, "admin"));
    assert_eq!(
        forger.get("/api/v1/status").status,
        401,
        "nginx replaces what the client sent"
    );
    let index = client("admin").get("/wm_resource_monitor/api").json();
    assert_eq!(
        index["endpoints"]["status"],
        "https://localhost/wm_resource_monitor/api/status"
    );
}
