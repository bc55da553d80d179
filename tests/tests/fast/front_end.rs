//! Behind a front end that terminates TLS: its client headers are used only if it is trusted.

use std::fs;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use watchpost_tests::http::Client;
use watchpost_tests::nginx::Nginx;
use watchpost_tests::server::Server;

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
