//! `watchpost status`, `report` and `top` against a running server.

use std::process::{Command, Stdio};

use serde_json::Value;
use watchpost_tests::author::{CommandOutput, run};
use watchpost_tests::ports;
use watchpost_tests::server::{Server, command, eventually, program};

/// A command with the flags of the server and of its reader.
fn remote(server: &Server, arguments: &[&str]) -> Command {
    let pki = server.data().join("pki");
    let mut command = command(server.folder());
    command.args(arguments);
    command.args(["--server", &format!("https://localhost:{}", server.secure.port())]);
    command.arg("--cacert").arg(pki.join("ca.crt"));
    command.arg("--cert").arg(pki.join("clients/reader.crt"));
    command.arg("--key").arg(pki.join("clients/reader.key"));
    command
}

fn asked(server: &Server, arguments: &[&str]) -> CommandOutput {
    run(&mut remote(server, arguments))
}

/// A machine on which everything is ok, or one with an alert.
fn with_severity(level: &str) -> Server {
    let thresholds = format!("[rules.threshold]\ndefaults = false\nthresholds = [{{ metric = \"memory\", {level} }}]");
    Server::with(&thresholds).ready()
}

#[test]
fn the_exit_code_of_a_report_is_its_severity_and_an_unreachable_server_is_unknown() {
    for (level, severity, code) in [
        ("alert = 100", "ok", 0),
        ("warning = 0.1", "warning", 1),
        ("alert = 0.1", "alert", 2),
    ] {
        let server = with_severity(level);
        let report = asked(&server, &["report"]).with(code);
        let first = report.out.lines().next().expect("a line");
        assert!(first.contains(&format!(": {severity} at ")), "{}", report.out);
        assert!(
            report.out.contains("memory") && report.out.contains("[#"),
            "{}",
            report.out
        );
        assert!(
            !report.out.contains('\x1b'),
            "no colours where the output is no terminal"
        );
        let json = asked(&server, &["report", "--json"]).with(code).json();
        assert_eq!(json["severity"], severity);
    }
    let server = with_severity("alert = 100");
    let mut away = command(server.folder());
    away.args(["report", "--server", &format!("https://localhost:{}", ports::CLOSED)]);
    let error = run(&mut away).with(3).error;
    assert!(error.contains("nothing listens there"), "{error}");
    run(command(server.folder()).args(["report", "--nonsense"])).with(64);
}

#[test]
fn the_status_has_the_rules_the_sources_and_the_certificates() {
    let server = Server::start().ready();
    let status = asked(&server, &["status"]).with(0).out;
    for part in [
        "severity ",
        "ready        yes",
        "generation 1: ",
        "certificate  expires 2",
        "STATE",
        "host.memory",
        &format!("https://{}", server.secure),
    ] {
        assert!(status.contains(part), "{part}:\n{status}");
    }
    let json = asked(&server, &["status", "--json"]).with(0).json();
    assert_eq!(json["ready"], true);
}

#[test]
fn without_a_url_the_server_of_the_configuration_is_asked_as_its_reader() {
    let folder = tempfile::tempdir().expect("a folder");
    watchpost_tests::template::copy_to(&folder.path().join("data"));
    let ready = folder.path().join("ready.json");
    let start = |port: u16| {
        let listeners = format!("listeners = [{{ address = \"127.0.0.1:{port}\" }}]\n");
        std::fs::write(folder.path().join("watchpost.toml"), listeners).expect("written");
        command(folder.path())
            .args(["serve", "--ready-file"])
            .arg(&ready)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts")
    };
    let (mut child, _) = ports::started("watchpost", start, |_| ready.exists());
    let local = |arguments: &[&str]| run(command(folder.path()).args(arguments));
    let status = eventually("a first round", || {
        let status = local(&["status"]).with(0);
        status.out.contains("STATE").then_some(status)
    });
    assert!(status.out.contains("host.memory"), "{}", status.out);
    let snapshot: Value = local(&["top", "--json"]).with(0).json();
    assert!(
        snapshot["samples"]
            .as_array()
            .is_some_and(|samples| !samples.is_empty())
    );
    child.kill().expect("it is ours");
    child.wait().expect("it ends");
    let error = local(&["status"]).with(69).error;
    assert!(error.contains("nothing listens there"), "{error}");
    std::fs::remove_file(folder.path().join("data/pki/clients/reader.key")).expect("removed");
    let error = local(&["status"]).with(74).error;
    assert!(error.contains("reader.key") && error.contains("--cert"), "{error}");
}

#[test]
fn on_a_machine_whose_clients_have_their_own_authority_the_commands_say_which_credentials_to_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    watchpost_tests::template::copy_to(&data);
    let ready = folder.path().join("ready.json");
    let settings = |port: u16, more: &str| {
        let required = format!("{{ address = \"127.0.0.1:{port}\", client_auth = \"required\" }}");
        let client_ca = data.join("pki/ca.crt");
        let text = format!(
            "listeners = [{required}{more}]\n[tls]\nclient_ca = {client_ca:?}\n[[tokens]]\nname = \"ci\"\n\
             sha256 = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"\nroles = [\"reader\"]\n"
        );
        std::fs::write(folder.path().join("watchpost.toml"), text).expect("written");
    };
    let plain = std::cell::Cell::new(0);
    let start = |port: u16| {
        plain.set(port + 1);
        settings(
            port,
            &format!(", {{ address = \"127.0.0.1:{}\", tls = false }}", port + 1),
        );
        command(folder.path())
            .args(["serve", "--ready-file"])
            .arg(&ready)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts")
    };
    let (mut child, port) = ports::started("watchpost", start, |_| ready.exists());
    let local = |arguments: &[&str]| run(command(folder.path()).args(arguments));
    let clients = data.join("pki/clients");
    let [certificate, key] = ["reader.crt", "reader.key"].map(|name| clients.join(name).display().to_string());
    let token = folder.path().join("token");
    std::fs::write(&token, "test\n").expect("written");
    let token = token.display().to_string();

    // An anonymous client may read little, so the remedy follows the server's reason.
    let anonymous = local(&["status"]).with(1).error;
    assert!(
        anonymous.contains(&format!("http://127.0.0.1:{}/", plain.get())) && anonymous.contains("--token-file"),
        "{anonymous}"
    );
    let by_certificate = local(&["status", "--cert", &certificate, "--key", &key]).with(0).out;
    assert!(by_certificate.contains("severity"), "{by_certificate}");
    let by_token = local(&["top", "--json", "--token-file", &token]).with(0).json();
    assert!(by_token["samples"].is_array(), "{by_token}");
    local(&["metrics", "--token-file", &token]).with(0);

    // Without the plain listener, only a certificate works.
    settings(port, "");
    for arguments in [&["status"][..], &["metrics"], &["top", "--json"]] {
        let error = local(arguments).with(78).error;
        assert!(
            error.contains("tls.client_ca") && error.contains("--cert and --key"),
            "{error}"
        );
    }
    let error = local(&["report"]).with(3).error;
    assert!(error.contains("--cert and --key"), "{error}");
    let error = local(&["status", "--token-file", &token]).with(78).error;
    assert!(error.contains("--cert and --key instead of --token-file"), "{error}");
    local(&["status", "--cert", &certificate, "--key", &key]).with(0);
    child.kill().expect("it is ours");
    child.wait().expect("it ends");
}

#[test]
fn the_wrong_scheme_and_a_missing_certificate_are_explained() {
    let server = Server::with(
        "listeners = [{ address = \"127.0.0.1:0\", client_auth = \"required\" }, { address = \"127.0.0.1:0\", tls = false }]",
    )
    .ready();
    let ask = |url: String, more: &[&str]| {
        let mut command = command(server.folder());
        run(command.args(["status", "--server", &url]).args(more))
    };
    let ca = server.data().join("pki/ca.crt").display().to_string();
    let plain = ask(format!("http://{}", server.secure), &[]);
    assert!(plain.code != 0 && plain.error.contains("https"), "{}", plain.error);
    let secure = ask(format!("https://{}", server.plain), &[]).with(69);
    assert!(secure.error.contains("write http://"), "{}", secure.error);
    let none = ask(format!("https://{}", server.secure), &["--cacert", &ca]).with(69);
    assert!(none.error.contains("--cert and --key"), "{}", none.error);
    for output in [plain, secure, none] {
        assert!(
            !output.error.contains("error:0") && !output.error.contains(".c:"),
            "{}",
            output.error
        );
    }
}

/// `script` runs the command on a terminal.
#[test]
fn top_refreshes_in_place_and_restores_the_terminal_on_an_interrupt() {
    let server = Server::start().ready();
    let typescript = server.folder().join("typescript");
    let top = remote(&server, &["top", "--interval", "1"]);
    let words: Vec<_> = top.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    let pid = server.folder().join("pid");
    let (program, words) = (program().display().to_string(), words.join(" "));
    let line = format!("echo $$ > {}; exec {program} {words}", pid.display());
    let mut script = Command::new("script")
        .args(["--quiet", "--flush", "--return", "--command", &line])
        .arg(&typescript)
        .env_remove("NO_COLOR")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("script is there");
    let text = || String::from_utf8_lossy(&std::fs::read(&typescript).unwrap_or_default()).into_owned();
    eventually("two pages", || (text().matches("USAGE").count() >= 2).then_some(()));
    assert!(text().contains("\x1b[?1049h"), "the page is on a screen of its own");
    assert!(text().contains("memory"));
    let child = std::fs::read_to_string(&pid)
        .expect("the shell wrote it")
        .trim()
        .to_owned();
    let status = Command::new("kill").args(["-INT", &child]).status();
    assert!(status.expect("kill runs").success());
    let ended = eventually("its end", || script.try_wait().expect("it is ours"));
    assert_eq!(ended.code(), Some(0));
    let text = text();
    let restored = text.find("\x1b[?25h\x1b[?1049l");
    assert!(restored.is_some(), "the cursor and the screen return");

    let mut piped = remote(&server, &["top"]);
    let error = run(&mut piped).with(64).error;
    assert!(error.contains("no terminal"), "{error}");
}

#[test]
fn a_watched_report_prints_each_round_and_ends_with_its_severity() {
    let server = with_severity("alert = 0.1");
    let mut command = remote(&server, &["report", "--watch", "--interval", "1", "--json"]);
    let mut watch = command.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(watch.stdout.take().expect("it is piped")));
    let times = [(); 2].map(|()| {
        let line = lines.next().expect("a line").expect("it is text");
        serde_json::from_str::<Value>(&line).expect("it is JSON")["time"]
            .as_str()
            .map(str::to_owned)
    });
    assert!(times[0] < times[1], "{times:?}");
    let status = Command::new("kill").args(["-INT", &watch.id().to_string()]).status();
    assert!(status.expect("kill runs").success());
    assert_eq!(
        eventually("its end", || watch.try_wait().expect("it is ours")).code(),
        Some(2)
    );
}
