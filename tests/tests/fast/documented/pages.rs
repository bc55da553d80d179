//! Pages and documents: content negotiation, compression and caching.

use std::io::Read;
use std::process::Stdio;

use watchpost_tests::server::{Server, command};

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

#[test]
fn the_index_is_a_page_for_browsers_and_json_for_programs() {
    let server = Server::start().ready();
    let program = server.anonymous_client().get("/");
    assert_eq!(program.header("content-type"), Some("application/json"));
    let endpoints = &program.json()["endpoints"];
    for (name, path) in [
        ("status", "/api/v1/status"),
        ("metrics", "/metrics"),
        ("detailed_health", "/health/detailed"),
        ("openapi", "/openapi.json"),
    ] {
        assert_eq!(endpoints[name], format!("https://localhost{path}"), "{endpoints}");
    }
    let page = server.anonymous_client().with("accept", BROWSER).get("/");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.text().contains("<h1>Log in to Watchpost</h1>"), "{}", page.text());
    let tls = format!("<a href=\"https://localhost:{}/\">", server.secure.port());
    assert!(!page.text().contains(&tls), "the browser can send a certificate here");
    let plain = server.plain_client().with("accept", BROWSER).get("/");
    assert!(plain.text().contains(&tls), "{tls}: {}", plain.text());
    let denied = server.plain_client().with("accept", BROWSER).get("/api/v1/status");
    assert!(denied.text().contains(&tls), "{tls}: {}", denied.text());
    for answer in [program, page] {
        let vary = answer.header("vary").unwrap_or_default();
        assert!(vary.contains("accept,"), "{vary}");
    }
}

#[test]
fn the_index_page_shows_the_machine_to_clients_that_may_read_it() {
    let server = Server::start().ready();
    let page = server.client("reader").with("accept", BROWSER).get("/");
    assert_eq!(page.status, 200);
    let report = server.client("reader").get("/api/v1/report").json();
    let host = report["host"].as_str().expect("a name");
    for part in [
        &format!("<h1>{host}</h1>"),
        "<p class=\"badge ",
        ">Memory</dt>",
        "<dt>Measured</dt>",
        "http-equiv=\"refresh\"",
    ] {
        assert!(page.text().contains(part), "{part}: {}", page.text());
    }
    let policy = page.header("content-security-policy").unwrap_or_default();
    assert!(
        policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    let anonymous = server.anonymous_client().with("accept", BROWSER).get("/").text();
    assert!(
        !anonymous.contains(host) || host == "localhost",
        "the name of the machine is not public"
    );
}

#[test]
fn a_browser_that_is_denied_gets_a_page_that_says_how_to_log_in() {
    let server = Server::start().ready();
    let anonymous = server.anonymous_client().with("accept", BROWSER).get("/api/v1/status");
    assert_eq!(anonymous.status, 401);
    assert_eq!(anonymous.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(anonymous.header("www-authenticate"), Some("Bearer realm=\"watchpost\""));
    for part in [
        "watchpost certs issue NAME --role reader --pkcs12 NAME.p12",
        "Firefox",
        "<pre>",
    ] {
        assert!(anonymous.text().contains(part), "{part}: {}", anonymous.text());
    }
    let agent = server.client("agent").with("accept", BROWSER).get("/api/v1/decisions");
    assert_eq!(agent.status, 403);
    assert!(agent.text().contains("CN=agent"), "{}", agent.text());
    let program = server.anonymous_client().get("/api/v1/status");
    assert_eq!(program.header("content-type"), Some("application/problem+json"));
}

#[test]
fn the_document_that_is_printed_is_the_one_that_is_served() {
    let server = Server::start();
    for (path, arguments) in [
        ("/openapi.json", &["openapi"][..]),
        ("/openapi.json?api=pixcrawler", &["openapi", "--api", "pixcrawler"]),
    ] {
        let printed = command(server.folder()).args(arguments).output().expect("it runs");
        assert!(printed.status.success());
        let served = server.anonymous_client().get(path);
        assert!(served.body == printed.stdout, "{path}");
    }
}

#[test]
fn a_client_that_reads_only_the_start_of_the_document_is_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut child = command(folder.path())
        .arg("openapi")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut first = [0];
    let mut out = child.stdout.take().expect("it is piped");
    out.read_exact(&mut first).expect("it says something");
    // The rest is larger than a pipe buffer, so it is not written completely yet.
    drop(out);
    let ended = child.wait_with_output().expect("it ends");
    assert!(ended.status.success() && ended.stderr.is_empty(), "{ended:?}");
}

#[test]
fn a_client_with_a_cached_document_gets_304() {
    let server = Server::start();
    for path in ["/openapi.json", "/docs/assets/pages.css"] {
        let first = server.anonymous_client().get(path);
        assert_eq!(first.header("cache-control"), Some("no-cache"));
        let tag = first.header("etag").expect("it has a tag").to_owned();
        let again = server.anonymous_client().with("if-none-match", &tag).get(path);
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
        assert_eq!(again.header("etag"), Some(tag.as_str()));
        let other = server.anonymous_client().with("if-none-match", "\"another\"").get(path);
        assert_eq!(other.status, 200, "{path}");
    }
}

#[test]
fn static_files_are_sent_in_their_compressed_form() {
    let server = Server::start();
    let path = "/docs/assets/swagger-ui-5.35.0.js";
    let packed = server
        .anonymous_client()
        .with("accept-encoding", "gzip, br, zstd")
        .get(path);
    let plain = server.anonymous_client().get(path);
    for (answer, coding) in [(&packed, Some("gzip")), (&plain, None)] {
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-encoding"), coding);
        assert_eq!(answer.header("content-type"), Some("text/javascript; charset=utf-8"));
        assert_eq!(
            answer.header("cache-control"),
            Some("public, max-age=31536000, immutable")
        );
    }
    assert!(packed.body.starts_with(&[0x1f, 0x8b]) && packed.body.len() * 3 < plain.body.len());
    assert!(plain.text().contains("SwaggerUIBundle"));
    let missing = server.anonymous_client().get("/docs/assets/../../secret");
    assert!(matches!(missing.status, 400 | 404), "{}", missing.status);
    assert_eq!(
        server.anonymous_client().get("/docs/assets/none.js").problem(404),
        "no such path: /docs/assets/none.js"
    );
}
