//! A Prometheus server for a test, with the test's configuration. It ends with the test. The test starts its targets.

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
    /// Starts it with this configuration; its data is in the folder.
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

    /// The response of one of its API paths.
    pub fn get(&self, path: &str) -> Result<Value, String> {
        let answer = Client::plain(self.address).get(path);
        match answer.status {
            200 => Ok(answer.json()["data"].clone()),
            _ => Err(answer.text()),
        }
    }

    /// The current result of an expression, or its error.
    pub fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let data = self.get(&format!("/api/v1/query?query={}", encoded(expression)))?;
        Ok(data["result"].as_array().cloned().unwrap_or_default())
    }

    /// Waits until the result of an expression is not empty.
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

/// Whether the server with this data folder is ready; it listens earlier.
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

/// Percent-encodes a text for a query.
fn encoded(text: &str) -> String {
    let of_byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(of_byte).collect()
}
