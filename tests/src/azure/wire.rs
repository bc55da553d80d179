//! A minimal HTTP server for the simulated Azure: it parses requests and sends replies, complete or broken on purpose.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use openssl::sha::sha256;
use serde_json::Value;

use super::{Shared, answer, is_reset};

/// A parsed request.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `GET` or `POST`.
    pub method: String,
    /// The raw path and query.
    pub target: String,
    /// The headers; names are in lower case.
    pub headers: Vec<(String, String)>,
    /// The raw body.
    pub body: String,
}

impl Asked {
    /// The decoded path.
    pub fn path(&self) -> String {
        decoded(self.target.split('?').next().unwrap_or_default())
    }

    /// A decoded parameter of the query; names are case-insensitive.
    pub fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        pair(query, name)
    }

    /// A decoded field of the form in the body.
    pub fn field(&self, name: &str) -> Option<String> {
        pair(&self.body, name)
    }

    /// A header by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = |(known, _): &&(String, String)| known == name;
        self.headers.iter().find(named).map(|(_, value)| value.as_str())
    }

    /// The start of the SHA-256 of the token, to distinguish tokens without showing them.
    pub fn bearer_print(&self) -> Option<String> {
        let bearer = self.header("authorization")?.strip_prefix("Bearer ")?;
        Some(
            sha256(bearer.as_bytes())
                .iter()
                .take(4)
                .map(|byte| format!("{byte:02x}"))
                .collect(),
        )
    }
}

fn pair(pairs: &str, name: &str) -> Option<String> {
    let mut pairs = pairs.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let (_, value) = pairs.find(|(known, _)| decoded(known).eq_ignore_ascii_case(name))?;
    Some(decoded(&value.replace('+', " ")))
}

/// Percent-decodes a text; an incomplete escape is kept.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let escaped = digit(at + 1).zip(digit(at + 2)).filter(|_| bytes[at] == b'%');
        match escaped.and_then(|(high, low)| u8::try_from(high * 16 + low).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// A response, and how to send it.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    pub(super) manner: Manner,
}

/// The manner in which a reply is sent, complete or broken.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Manner {
    Whole,
    Gzip,
    Chunked,
    /// The head and half of the body at once, the rest after this time.
    Slow(Duration),
    /// The whole response after this time.
    Late(Duration),
    /// Half of the announced body, then the connection closes.
    Cut,
}

impl Reply {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self {
            status,
            headers: vec![("content-type", "application/json; charset=utf-8".to_owned())],
            body: body.to_string().into_bytes(),
            manner: Manner::Whole,
        }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }
}

/// Serves one connection until it ends.
pub(super) fn serve(stream: TcpStream, shared: &Arc<Shared>) {
    let Ok(mut writing) = stream.try_clone() else { return };
    let _ = stream.set_nodelay(true);
    let mut reading = BufReader::new(stream);
    loop {
        if let Some(asked) = next(reading.get_ref())
            && is_reset(shared, asked)
        {
            // Closing a connection with unread input resets it.
            return;
        }
        let Ok(Some(asked)) = request(&mut reading) else { break };
        let reply = answer(shared, asked);
        if !matches!(send(&mut writing, reply, shared), Ok(true)) {
            break;
        }
    }
    let _ = writing.shutdown(std::net::Shutdown::Both);
}

/// Peeks at the next request. Only its first line is certain to be complete.
fn next(stream: &TcpStream) -> Option<Asked> {
    let mut seen = [0; 16 << 10];
    let length = stream.peek(&mut seen).ok()?;
    request(&mut &seen[..length]).ok().flatten()
}

fn request(stream: &mut impl BufRead) -> io::Result<Option<Asked>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Ok(None);
    };
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(':') else {
            break;
        };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let mut asked = Asked {
        method,
        target,
        headers,
        body: String::new(),
    };
    let length = asked.header("content-length").and_then(|length| length.parse().ok());
    stream.take(length.unwrap_or(0)).read_to_string(&mut asked.body)?;
    Ok(Some(asked))
}

/// Sends a reply; returns whether the connection stays open.
fn send(stream: &mut TcpStream, mut reply: Reply, shared: &Shared) -> io::Result<bool> {
    let manner = reply.manner;
    if let Manner::Late(length) = manner {
        shared.pause(length);
    }
    if manner == Manner::Gzip {
        reply.body = gzip(&reply.body);
        reply = reply.with("content-encoding", "gzip");
    }
    let mut head = format!("HTTP/1.1 {} Status\r\n", reply.status);
    if manner == Manner::Chunked {
        head.push_str("transfer-encoding: chunked\r\n");
    } else {
        head.push_str(&format!("content-length: {}\r\n", reply.body.len()));
    }
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    let (first, rest) = reply.body.split_at(reply.body.len() / 2);
    match manner {
        Manner::Chunked => {
            for chunk in reply.body.chunks(7) {
                write!(stream, "{:x}\r\n", chunk.len())?;
                stream.write_all(chunk)?;
                stream.write_all(b"\r\n")?;
            }
            stream.write_all(b"0\r\n\r\n")?;
        }
        Manner::Slow(length) => {
            stream.write_all(first)?;
            shared.pause(length);
            stream.write_all(rest)?;
        }
        Manner::Cut => {
            stream.write_all(first)?;
            return Ok(false);
        }
        _ => stream.write_all(&reply.body)?,
    }
    Ok(true)
}

/// Gzip with stored blocks: not compressed, but the client has to decode it.
fn gzip(body: &[u8]) -> Vec<u8> {
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let count = body.chunks(0xffff).count();
    for (at, block) in body.chunks(0xffff).enumerate() {
        let length = u16::try_from(block.len()).expect("a block is no longer");
        packed.push(u8::from(at + 1 == count));
        packed.extend(length.to_le_bytes());
        packed.extend((!length).to_le_bytes());
        packed.extend(block);
    }
    if count == 0 {
        packed.extend([1, 0, 0, 0xff, 0xff]);
    }
    packed.extend(crc32(body).to_le_bytes());
    packed.extend((body.len() as u32).to_le_bytes());
    packed
}

fn crc32(body: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in body {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_that_of_gzip() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn what_was_encoded_is_decoded_once() {
        assert_eq!(decoded("a%252b%2C%C3%A4%"), "a%2b,ä%");
    }
}
