//! A real Prometheus for a test, with a configuration of the test's. It ends with the test. What it scrapes is for the
//! test to start.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::http::Client;
use crate::server::{eventually, free_port};

/// A running Prometheus.
pub struct Prometheus {
    child: Child,
    address: SocketAddr,
}

impl Prometheus {
    /// With this configuration; what it keeps lies in the folder.
    pub fn start(config: &Path, folder: &Path) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus starts; `make test` installs it");
        let prometheus = Self { child, address };
        eventually("prometheus", || {
            let listens = TcpStream::connect(address).is_ok();
            // It listens before it can be asked.
            (listens && Client::plain(address).get("/-/ready").status == 200).then_some(())
        });
        prometheus
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

/// As it may stand in a query.
fn encoded(text: &str) -> String {
    let of_byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(of_byte).collect()
}
