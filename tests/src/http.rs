//! A minimal HTTP client: it sends and receives raw bytes on one connection, without retries or redirects.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use openssl::ssl::{Ssl, SslContext, SslContextBuilder, SslFiletype, SslMethod, SslStream, SslVerifyMode};

const START_TIMEOUT: Duration = Duration::from_secs(30);

/// The address, the TLS settings and the headers of requests.
#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    /// The trusted authority; `None` for no TLS.
    ca: Option<PathBuf>,
    certificate: Option<(PathBuf, PathBuf)>,
    headers: Vec<(String, String)>,
}

/// A response.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers; names are in lower case.
    pub headers: Vec<(String, String)>,
    /// The decoded body.
    pub body: Vec<u8>,
}

/// A persistent connection.
pub struct Connection {
    stream: Box<dyn Stream>,
    unread: Vec<u8>,
    headers: Vec<(String, String)>,
}

trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

impl Client {
    /// A client with TLS that trusts this authority.
    pub fn new(address: SocketAddr, ca: &Path) -> Self {
        Self {
            address,
            ca: Some(ca.to_owned()),
            certificate: None,
            headers: Vec::new(),
        }
    }

    /// A client without TLS.
    pub fn plain(address: SocketAddr) -> Self {
        Self {
            address,
            ca: None,
            certificate: None,
            headers: Vec::new(),
        }
    }

    /// Presents this client certificate.
    pub fn with_certificate(mut self, certificate: &Path, key: &Path) -> Self {
        self.certificate = Some((certificate.to_owned(), key.to_owned()));
        self
    }

    /// Adds this header to each request.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The TLS configuration, for tests that change it.
    pub fn tls(&self) -> SslContextBuilder {
        // `SslConnector` would read all authorities of the system, which takes longer than a handshake.
        let mut tls = SslContext::builder(SslMethod::tls_client()).expect("OpenSSL is there");
        tls.set_verify(SslVerifyMode::PEER);
        tls.set_ca_file(self.ca.as_ref().expect("it speaks TLS"))
            .expect("the authority's certificate is there");
        if let Some((certificate, key)) = &self.certificate {
            tls.set_certificate_chain_file(certificate)
                .expect("the certificate is there");
            tls.set_private_key_file(key, SslFiletype::PEM)
                .expect("the key is there");
        }
        tls
    }

    /// Opens a connection.
    pub fn connect(&self) -> io::Result<Connection> {
        let tls = self.ca.as_ref().map(|_| self.tls().build());
        self.connect_by(tls.as_ref())
    }

    /// Opens a connection with a configuration from [`tls`](Self::tls).
    pub fn connect_by(&self, tls: Option<&SslContext>) -> io::Result<Connection> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(START_TIMEOUT))?;
        stream.set_write_timeout(Some(START_TIMEOUT))?;
        stream.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(stream),
            Some(tls) => Box::new(shake_hands(tls, stream)?),
        };
        Ok(Connection {
            stream,
            unread: Vec::new(),
            headers: self.headers.clone(),
        })
    }

    /// Sends a request on a new connection.
    pub fn ask(&self, method: &str, path: &str) -> Answer {
        self.try_ask(method, path).expect("an answer comes back")
    }

    /// The same, where the connection may fail.
    pub fn try_ask(&self, method: &str, path: &str) -> io::Result<Answer> {
        self.connect()?.ask(method, path)
    }

    /// Sends JSON.
    pub fn send(&self, method: &str, path: &str, body: &serde_json::Value) -> Answer {
        self.try_send(method, path, body).expect("an answer comes back")
    }

    /// The same, where the connection may fail.
    pub fn try_send(&self, method: &str, path: &str, body: &serde_json::Value) -> io::Result<Answer> {
        self.connect()?.ask_with(method, path, body)
    }

    /// Sends a body of any content type.
    pub fn send_bytes(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Answer {
        let sent = self
            .connect()
            .and_then(|mut connection| connection.ask_bytes(method, path, kind, body));
        sent.expect("an answer comes back")
    }

    /// Sends a GET request.
    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path)
    }
}

/// A TLS handshake with a server that must be `localhost`.
pub fn shake_hands(tls: &SslContext, stream: TcpStream) -> io::Result<SslStream<TcpStream>> {
    let mut ssl = Ssl::new(tls)?;
    ssl.set_hostname("localhost")?;
    ssl.param_mut().set_host("localhost")?;
    let secured = ssl.connect(stream);
    secured.map_err(|error| io::Error::new(io::ErrorKind::ConnectionRefused, error.to_string()))
}

impl Connection {
    /// Sends a request and keeps the connection open.
    pub fn ask(&mut self, method: &str, path: &str) -> io::Result<Answer> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
        for (name, value) in &self.headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        self.send(request.as_bytes())?;
        self.answer(method == "HEAD")
    }

    /// Sends JSON and keeps the connection open.
    pub fn ask_with(&mut self, method: &str, path: &str, body: &serde_json::Value) -> io::Result<Answer> {
        self.ask_bytes(method, path, "application/json", body.to_string().as_bytes())
    }

    /// Sends a body of any content type and keeps the connection open.
    pub fn ask_bytes(&mut self, method: &str, path: &str, kind: &str, body: &[u8]) -> io::Result<Answer> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
        for (name, value) in &self.headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        let length = body.len();
        request.push_str(&format!("content-type: {kind}\r\ncontent-length: {length}\r\n\r\n"));
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body);
        self.send(&bytes)?;
        self.answer(false)
    }

    /// Sends raw bytes.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Reads until the server closes the connection, which it must do.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.unread);
        // After an aborted connection, the bytes so far are the result.
        if let Err(error) = self.stream.read_to_end(&mut rest) {
            let waits = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
            assert!(!waits, "the other end neither answers nor closes");
        }
        rest
    }

    /// Reads one response. A response to HEAD has no body.
    pub fn answer(&mut self, headless: bool) -> io::Result<Answer> {
        let end = loop {
            if let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            self.more()?;
        };
        let head = String::from_utf8_lossy(&self.unread[..end]).into_owned();
        self.unread.drain(..end + 4);
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect();
        let mut answer = Answer {
            status: status.ok_or_else(|| io::Error::other(format!("no answer: {head}")))?,
            headers,
            body: Vec::new(),
        };
        if headless {
            return Ok(answer);
        }
        if answer.header("transfer-encoding") == Some("chunked") {
            answer.body = self.chunks()?;
            return Ok(answer);
        }
        let length = answer
            .header("content-length")
            .and_then(|length| length.parse().ok())
            .unwrap_or(0);
        answer.body = self.take(length)?;
        Ok(answer)
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                if let Some(end) = self.unread.windows(2).position(|two| two == b"\r\n") {
                    break end;
                }
                self.more()?;
            };
            let size = String::from_utf8_lossy(&self.unread[..end]).into_owned();
            let size = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
            self.unread.drain(..end + 2);
            body.extend(self.take(size)?);
            self.take(2)?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < length {
            self.more()?;
        }
        Ok(self.unread.drain(..length).collect())
    }

    fn more(&mut self) -> io::Result<()> {
        let mut piece = [0; 16 << 10];
        match self.stream.read(&mut piece)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.unread.extend_from_slice(&piece[..read]);
                Ok(())
            }
        }
    }
}

impl Answer {
    /// A header by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Asserts a problem document with this status, and returns its detail.
    pub fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{}",
            self.text()
        );
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert_eq!(problem["request_id"].as_str(), self.header("x-request-id"));
        assert!(
            problem["title"].is_string() && problem["instance"].is_string(),
            "{problem}"
        );
        problem["detail"].as_str().expect("a detail").to_owned()
    }
}
