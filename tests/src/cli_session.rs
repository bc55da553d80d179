//! A session with the command line: a folder with rules, a client certificate, and a server.

use std::process::Command;

use crate::author::{Author, CommandOutput, run};
use crate::server::{Server, eventually};

/// A server, and a client that runs `watchpost rules` against it.
pub struct CliSession {
    /// The server.
    pub server: Server,
    /// The folder with rules.
    pub author: Author,
    client: &'static str,
}

impl CliSession {
    /// A ready server, and a client with the certificate of this name.
    pub fn new(client: &'static str) -> Self {
        Self::with(client, "")
    }

    /// The same, with these settings of the server.
    pub fn with(client: &'static str, settings: &str) -> Self {
        let (server, author) = (Server::with(settings).ready(), Author::new());
        Self { server, author, client }
    }

    /// An administrator, and a server with this number of recorded rounds. The compile timeout is long, because other
    /// tests use the CPU.
    pub fn with_rounds(count: usize) -> Self {
        let session = Self::with("admin", "[rules.compiler]\ntimeout = \"10m\"\n");
        eventually("some rounds", || {
            let kept = session.server.get("/api/v1/snapshots").json();
            let kept = kept["snapshots"].as_array().map(Vec::len);
            kept.filter(|kept| *kept >= count)
        });
        session
    }

    /// The URL of the server.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.server.secure.port())
    }

    /// The path of a file in the server's PKI folder.
    pub fn pki(&self, name: &str) -> String {
        self.server.data().join("pki").join(name).display().to_string()
    }

    /// Runs `watchpost rules …` with the flags of the server and of the client certificate.
    pub fn rules(&self, arguments: &[&str]) -> CommandOutput {
        run(&mut self.command(arguments))
    }

    /// The same command, not started yet.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.author.command(arguments);
        let client = |kind: &str| self.pki(&format!("clients/{}.{kind}", self.client));
        command.args(["--server", &self.url(), "--cacert", &self.pki("ca.crt")]);
        command.args(["--cert", &client("crt"), "--key", &client("key")]);
        command
    }

    /// Uploads a component and returns its digest.
    pub fn pushed(&self, wasm: &[u8]) -> String {
        self.author.keep("rule.wasm", wasm);
        let output = self.rules(&["push", "rule.wasm", "--json"]).with(0).json();
        output["digest"].as_str().expect("a digest").to_owned()
    }
}
