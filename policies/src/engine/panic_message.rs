//! Reads the panic message of a guest. A rule imports nothing, so it cannot report a panic; it writes the message into
//! its own memory behind a marker, where the host finds it after the trap.

use wasmtime::{AsContext, WasmCoreDump};

/// The marker of a panic message, followed by its length (u32, little endian) and UTF-8 text. The SDK for Rust reserves
/// such a buffer; a guest in any language may.
pub(crate) const MARKER: [u8; 16] = *b"\x00last-words\x00v1\x00\x00";

/// Maximum length of a message.
const MAX_MESSAGE_BYTES: usize = 1000;

/// The panic message, if the guest wrote one.
pub(super) fn read(dump: &WasmCoreDump, store: impl AsContext) -> Option<String> {
    let message = |memory: &wasmtime::Memory| find(memory.data(&store));
    dump.memories().iter().find_map(message)
}

fn find(memory: &[u8]) -> Option<String> {
    memchr::memmem::find_iter(memory, &MARKER).find_map(|at| {
        let rest = memory.get(at + MARKER.len()..)?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length))
            .ok()?
            .min(MAX_MESSAGE_BYTES);
        let message = String::from_utf8_lossy(rest.get(..length)?);
        let message = message.trim_end_matches(char::REPLACEMENT_CHARACTER).trim();
        (!message.is_empty()).then(|| message.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(parts: &[&[u8]]) -> Vec<u8> {
        parts.concat()
    }

    #[test]
    fn the_message_behind_the_marker_is_found() {
        let check = |memory: Vec<u8>, expected: Option<&str>| assert_eq!(find(&memory).as_deref(), expected);
        check(
            memory(&[b"...", &MARKER, &5u32.to_le_bytes(), b"index out"]),
            Some("index"),
        );
        check(memory(&[b"nothing here"]), None);
        check(memory(&[&MARKER, &0u32.to_le_bytes(), b"never written"]), None);
        check(memory(&[&MARKER, &u32::MAX.to_le_bytes(), b"a lie"]), None);
        check(memory(&[&MARKER, b"\x01"]), None);
        check(memory(&[&MARKER, &4u32.to_le_bytes(), b"gr\xc3\xbcn"]), Some("grü"));
        check(memory(&[&MARKER, &3u32.to_le_bytes(), b"gr\xc3\xbcn"]), Some("gr"));
    }

    #[test]
    fn an_empty_buffer_does_not_hide_a_written_one() {
        let two = memory(&[
            &MARKER,
            &0u32.to_le_bytes(),
            b"....",
            &MARKER,
            &2u32.to_le_bytes(),
            b"hi",
        ]);
        assert_eq!(find(&two).as_deref(), Some("hi"));
    }
}
