//! A real Prometheus for a test, with a configuration of the test's. It ends with the test. What it scrapes is for the
//! test to start.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::http::Client;
use crate::ports;
use crate::server::eventually;

/// A running Prometheus.
pub struct Prometheus {
    child: Child,
    address: SocketAddr,
}

impl Prometheus {
    /// With this configuration; what it keeps lies in the folder.
    pub fn start(config: &Path, folder: &Path) -> Self {
        let data = folder.join("data");
        let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let start = |port| {
            Command::new("prometheus")
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.tsdb.path={}", data.display()))
                .arg(format!("--web.listen-address={}", address(port)))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("prometheus starts; `make test` installs it")
        };
        let (child, port) = ports::started("prometheus", start, |port| is_ready(address(port), &data));
        let address = address(port);
        Self { child, address }
    }

    /// What one of its own paths answers with.
    pub fn get(&self, path: &str) -> Result<Value, String> {
        let answer = Client::plain(self.address).get(path);
        match answer.status {
            200 => Ok(answer.json()["data"].clone()),
            _ => Err(answer.text()),
        }
    }

    /// What an expression has as its result now, or what is wrong with it.
    pub fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let data = self.get(&format!("/api/v1/query?query={}", encoded(expression)))?;
        Ok(data["result"].as_array().cloned().unwrap_or_default())
    }

    /// Waits until an expression has a result that is not empty.
    pub fn found(&self, expression: &str) -> Vec<Value> {
        eventually(expression, || {
            let result = self
                .query(expression)
                .unwrap_or_else(|wrong| panic!("{expression}: {wrong}"));
            (!result.is_empty()).then_some(result)
        })
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether the one that keeps its data there can be asked; it listens before.
fn is_ready(address: SocketAddr, data: &Path) -> bool {
    let client = Client::plain(address);
    let answers = |path: &str| {
        let mut connection = client.connect().ok()?;
        let answer = connection.ask("GET", path).ok()?;
        (answer.status == 200).then(|| answer.text())
    };
    let keeps = answers("/api/v1/status/flags").is_some_and(|flags| flags.contains(&data.display().to_string()));
    keeps && answers("/-/ready").is_some()
}

/// As it may stand in a query.
fn encoded(text: &str) -> String {
    let of_byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(of_byte).collect()
}
