//! A page that is compressed at most once, and responses made of that page and the text after it. The appended text is
//! compressed for each request, so it should be short.

use std::io::Write as _;
use std::sync::OnceLock;

use bytes::Bytes;
use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

use super::format::Encoding;

/// A text and its compressed forms, each made on first use: most machines are scraped in one form of one format only,
/// so compressing the others every round would be wasted work.
#[derive(Debug, Default)]
pub(super) struct Encoded {
    plain: Bytes,
    gzip: OnceLock<Deflated>,
    zstd: OnceLock<Bytes>,
}

/// A text as deflate blocks that end at a byte, none of them the last.
///
/// Two gzip members could simply be concatenated, but curl and many libraries stop after the first. So a response is
/// one member: these blocks, those of the appended text, and the checksum of both.
#[derive(Debug)]
struct Deflated {
    blocks: Vec<u8>,
    checksum: Crc,
}

impl Encoded {
    pub(super) fn new(text: String) -> Self {
        Self {
            plain: Bytes::from(text),
            gzip: OnceLock::new(),
            zstd: OnceLock::new(),
        }
    }

    /// The response body: this text, followed by `rest`.
    pub(super) fn followed_by(&self, rest: &str, encoding: Encoding) -> Bytes {
        match encoding {
            Encoding::Identity => joined(&self.plain, rest.as_bytes()),
            Encoding::Gzip => {
                let first = self
                    .gzip
                    .get_or_init(|| deflate(&self.plain, Compression::default(), false));
                gzip(first, &deflate(rest.as_bytes(), Compression::fast(), true))
            }
            // A zstd reader must read all frames (RFC 8878, 3.1), and the clients that were tested do.
            Encoding::Zstd => {
                let first = self
                    .zstd
                    .get_or_init(|| zstd(&self.plain, zstd::DEFAULT_COMPRESSION_LEVEL));
                joined(first, &zstd(rest.as_bytes(), 1))
            }
        }
    }
}

fn joined(first: &[u8], rest: &[u8]) -> Bytes {
    Bytes::from([first, rest].concat())
}

fn deflate(data: &[u8], level: Compression, last: bool) -> Deflated {
    let mut checksum = Crc::new();
    checksum.update(data);
    let mut encoder = DeflateEncoder::new(Vec::with_capacity(data.len() / 4), level);
    encoder.write_all(data).expect("a Vec takes whatever is written");
    let blocks = if last {
        encoder.finish().expect("a Vec takes whatever is written")
    } else {
        encoder.flush().expect("a Vec takes whatever is written");
        std::mem::take(encoder.get_mut())
    };
    Deflated { blocks, checksum }
}

fn gzip(first: &Deflated, rest: &Deflated) -> Bytes {
    // RFC 1952, 2.3: deflate, no flags, no time, no hint about the effort, from an unknown system.
    const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut checksum = Crc::new();
    checksum.combine(&first.checksum);
    checksum.combine(&rest.checksum);
    let trailer = [checksum.sum().to_le_bytes(), checksum.amount().to_le_bytes()].concat();
    Bytes::from([&HEADER, first.blocks.as_slice(), &rest.blocks, &trailer].concat())
}

fn zstd(data: &[u8], level: i32) -> Bytes {
    let frame = zstd::bulk::compress(data, level).expect("the buffer is as large as the worst case");
    Bytes::from(frame)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    fn plain(encoding: Encoding, answer: &[u8]) -> String {
        let mut text = String::new();
        match encoding {
            Encoding::Identity => text.push_str(std::str::from_utf8(answer).expect("UTF-8")),
            // This decoder stops after the first member, as those of many clients do.
            Encoding::Gzip => {
                let mut decoder = GzDecoder::new(answer);
                decoder.read_to_string(&mut text).expect("a sound member");
                assert!(decoder.into_inner().is_empty(), "nothing follows the first member");
            }
            Encoding::Zstd => {
                let bytes = zstd::stream::decode_all(answer).expect("sound frames");
                text.push_str(std::str::from_utf8(&bytes).expect("UTF-8"));
            }
        }
        text
    }

    #[test]
    fn an_answer_is_both_parts_in_every_encoding() {
        let long: String = (0..2000).map(|number| format!("metric_{number} {number}\n")).collect();
        for first in ["", "a 1\n", &long] {
            let page = Encoded::new(first.to_owned());
            for rest in ["", "b 2\n", &long] {
                for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Zstd] {
                    // Twice: the second time, the first part is compressed already.
                    for _ in 0..2 {
                        let answer = page.followed_by(rest, encoding);
                        assert_eq!(plain(encoding, &answer), format!("{first}{rest}"), "{encoding:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_compressed_page_is_much_smaller() {
        let long: String = (0..500)
            .map(|cpu| format!("node_cpu_seconds_total{{cpu=\"{cpu}\"}} 1\n"))
            .collect();
        let page = Encoded::new(long.clone());
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            assert!(page.followed_by("", encoding).len() * 5 < long.len(), "{encoding:?}");
        }
    }
}
