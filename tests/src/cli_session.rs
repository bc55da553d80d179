//! Somebody at a desk: a folder with rules, a certificate, and a Watchpost to ask by the command line.

use std::process::Command;

use crate::author::{Author, Said, run};
use crate::server::{Server, eventually};

/// A Watchpost, and somebody who asks it.
pub struct Desk {
    /// Whom they ask.
    pub server: Server,
    /// Where they keep rules.
    pub author: Author,
    who: &'static str,
}

impl Desk {
    /// A server that is ready, and somebody with the certificate of this name.
    pub fn new(who: &'static str) -> Self {
        Self::with(who, "")
    }

    /// The same, and the server has these settings.
    pub fn with(who: &'static str, settings: &str) -> Self {
        let (server, author) = (Server::with(settings).ready(), Author::new());
        Self { server, author, who }
    }

    /// An administrator, and a server that has measured and kept so many rounds, and has time to compile what others
    /// leave it little time for.
    pub fn with_rounds(count: usize) -> Self {
        let desk = Self::with("admin", "[rules.compiler]\ntimeout = \"10m\"\n");
        eventually("some rounds", || {
            let kept = desk.server.get("/api/v1/snapshots").json();
            let kept = kept["snapshots"].as_array().map(Vec::len);
            kept.filter(|kept| *kept >= count)
        });
        desk
    }

    /// Where the server is.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.server.secure.port())
    }

    /// A file of its authority.
    pub fn pki(&self, name: &str) -> String {
        self.server.data().join("pki").join(name).display().to_string()
    }

    /// `watchpost rules …`, and who asks whom.
    pub fn rules(&self, arguments: &[&str]) -> Said {
        run(&mut self.command(arguments))
    }

    /// The same, not yet started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.author.command(arguments);
        let client = |kind: &str| self.pki(&format!("clients/{}.{kind}", self.who));
        command.args(["--server", &self.url(), "--cacert", &self.pki("ca.crt")]);
        command.args(["--cert", &client("crt"), "--key", &client("key")]);
        command
    }

    /// Brings a component; what comes back is its digest.
    pub fn pushed(&self, wasm: &[u8]) -> String {
        self.author.keep("rule.wasm", wasm);
        let told = self.rules(&["push", "rule.wasm", "--json"]).with(0).json();
        told["digest"].as_str().expect("a digest").to_owned()
    }
}
