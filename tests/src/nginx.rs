//! An nginx for a test, with the test's configuration. It ends with the test.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::ports;

/// A running nginx.
pub struct Nginx {
    child: Child,
    /// The address that it listens on.
    pub address: SocketAddr,
}

impl Nginx {
    /// Starts nginx with one `server` section. The folder must not be used by another nginx. `{listen}` in the text is
    /// replaced by its address; `http` precedes it in the `http` section.
    pub fn start(folder: &Path, http: &str, server: &str) -> Self {
        fs::create_dir_all(folder).expect("the folder can be made");
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        // nginx writes the file when it listens.
        let pid = folder.join("pid");
        let start = |port| Self::run(folder, http, &server.replace("{listen}", &address(port).to_string()));
        let (child, port) = ports::started("nginx", start, |_| pid.exists());
        let address = address(port);
        Self { child, address }
    }

    fn run(folder: &Path, http: &str, server: &str) -> Child {
        let dir = folder.display();
        let text = format!(
            "daemon off; pid {dir}/pid; error_log {dir}/error.log; worker_processes 1; user root;
            events {{}}
            http {{
                access_log off; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
                uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
                {http}
                server {{ {server} }}
            }}"
        );
        fs::write(folder.join("nginx.conf"), text).expect("the folder can be written");
        Command::new("nginx")
            .arg("-c")
            .arg(folder.join("nginx.conf"))
            .arg("-p")
            .arg(folder)
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx starts; `make test` installs it")
    }

    /// The worker process.
    pub fn worker(&self) -> u32 {
        let master = self.child.id();
        let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children"));
        let children = children.expect("the kernel lists children");
        let first = children.split_whitespace().next().expect("it has a worker");
        first.parse().expect("a number")
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The workers end with the main process on SIGTERM, but not on SIGKILL.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}
