//! The operator's own authority, created as in `docs/DEPLOYMENT.md`: the roles of its clients by the configuration for
//! Kubernetes, and the warning in the log if no client can have a role.

use std::path::Path;
use std::process::Command;

use toml::{Table, Value};
use watchpost_tests::document::{blocks, document};
use watchpost_tests::http::Client;
use watchpost_tests::programs::output_of;
use watchpost_tests::server::Server;

use super::read;

const SECTION: &str = "Certificates of your own";

const WARNING: &str = "no client with a certificate of";

/// A folder with the certificates of the document, and a client whose subject is not configured.
fn certificates() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let shown = blocks(&document("DEPLOYMENT.md"), SECTION, "sh").concat();
    let other = "issue other /OU=reader/CN=other extendedKeyUsage=clientAuth";
    let mut shell = Command::new("bash");
    shell.args(["-euc", &format!("{shown}\n{other}")]);
    output_of(shell.current_dir(folder.path())).expect("the document's commands are good");
    folder
}

/// The configuration for Kubernetes, with free ports and the files of this folder.
fn of_kubernetes(folder: &Path) -> Table {
    let mut configuration: Table = read("kubernetes/base/watchpost.toml").parse().expect("it is TOML");
    let local = "a = [{ address = \"127.0.0.1:0\" }, { address = \"127.0.0.1:0\", tls = false }]";
    let local: Table = local.parse().expect("it is TOML");
    configuration.insert("listeners".to_owned(), local["a"].clone());
    let tls = configuration["tls"].as_table_mut().expect("it has this section");
    for (key, file) in [
        ("certificate", "server.crt"),
        ("key", "server.key"),
        ("client_ca", "ca.crt"),
    ] {
        let path = folder.join(file).display().to_string();
        tls.insert(key.to_owned(), Value::String(path)).expect("it names one");
    }
    configuration
}

fn begun(folder: tempfile::TempDir, configuration: &Table) -> Server {
    std::fs::write(folder.path().join("watchpost.toml"), configuration.to_string()).expect("written");
    Server::prepared_fresh(folder).ready()
}

fn warns(server: &Server) -> bool {
    server.log_lines().iter().any(|line| line.contains(WARNING))
}

#[test]
fn with_the_configuration_of_kubernetes_only_the_named_clients_have_a_role() {
    let folder = certificates();
    let configuration = of_kubernetes(folder.path());
    let server = begun(folder, &configuration);
    let file = |name: &str| server.folder().join(name);
    let client = |name: &str| {
        let (certificate, key) = (file(&format!("{name}.crt")), file(&format!("{name}.key")));
        Client::new(server.secure, &file("ca.crt")).with_certificate(&certificate, &key)
    };
    let status = |name: &str, path: &str| client(name).get(path).status;
    assert_eq!(status("prometheus", "/metrics"), 200);
    assert_eq!(status("prometheus", "/api/v1/decisions"), 403, "a reader is no more");
    assert_eq!(status("admin", "/api/v1/decisions"), 200);
    // The same authority, and even the same OU, are not enough.
    assert_eq!(status("other", "/health"), 200);
    assert_eq!(status("other", "/metrics"), 403);
    assert!(!warns(&server));
}

#[test]
fn the_document_and_kubernetes_name_the_same_clients() {
    let shown = blocks(&document("DEPLOYMENT.md"), SECTION, "toml").concat();
    let shown: Table = shown.parse().expect("it is TOML");
    let given: Table = read("kubernetes/base/watchpost.toml").parse().expect("it is TOML");
    assert_eq!(
        shown["rules"]["role"]["identities"],
        given["rules"]["role"]["identities"]
    );
}

#[test]
fn the_log_warns_where_no_client_can_have_a_role() {
    let folder = certificates();
    let mut configuration = of_kubernetes(folder.path());
    let rules = configuration["rules"].as_table_mut().expect("it has this section");
    rules.remove("role").expect("it names identities");
    let server = begun(folder, &configuration);
    server.logged(WARNING);
    // There is no warning if no certificates are requested, or if the development authority is trusted too.
    let folder = server.stop();
    for listener in configuration["listeners"].as_array_mut().expect("it is a list") {
        let listener = listener.as_table_mut().expect("each is a table");
        listener.insert("client_auth".to_owned(), Value::String("off".to_owned()));
    }
    let server = begun(folder, &configuration);
    assert!(!warns(&server));
    assert!(!warns(&Server::start().ready()));
    let own = Server::with("[tls]\nclient_ca = \"{folder}/data/pki/ca.crt\"\n").ready();
    assert!(!warns(&own));
    // The development authority of another server has the same name, and assigns no roles here.
    let (other, folder) = (Server::fresh(""), tempfile::tempdir().expect("a folder"));
    let copy = folder.path().join("clients.pem");
    std::fs::copy(other.data().join("pki/ca.crt"), &copy).expect("copied");
    let foreign = Server::in_folder(folder, "[tls]\nclient_ca = \"{folder}/clients.pem\"\n").ready();
    foreign.logged(WARNING);
}
