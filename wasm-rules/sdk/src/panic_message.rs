//! Keeps the message of a panic in the memory of the rule, where the host searches for it after a trap: a marker of 16
//! bytes, a length, and that many bytes of text. A rule imports nothing, so it cannot pass the message by a call.

#![expect(unsafe_code, reason = "the host finds the message in a mutable static")]

use std::cell::UnsafeCell;
use std::fmt::{self, Write};
use std::panic::{self, PanicHookInfo};
use std::sync::Once;

const MAX_MESSAGE_BYTES: usize = 1000;

#[repr(C)]
struct MessageBuffer {
    marker: [u8; 16],
    length: u32,
    text: [u8; MAX_MESSAGE_BYTES],
}

struct SharedBuffer(UnsafeCell<MessageBuffer>);

// SAFETY: an instance of a rule has one thread; the contract has no way to make a second one.
unsafe impl Sync for SharedBuffer {}

static MESSAGE: SharedBuffer = SharedBuffer(UnsafeCell::new(MessageBuffer {
    marker: *b"\x00last-words\x00v1\x00\x00",
    length: 0,
    text: [0; MAX_MESSAGE_BYTES],
}));

/// Installs a panic hook that keeps the message and the location of a panic.
pub fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| panic::set_hook(Box::new(record)));
}

fn record(panic: &PanicHookInfo<'_>) {
    let buffer = MESSAGE.0.get();
    // SAFETY: one thread, and a panic inside this hook ends the instance without a second run of it.
    let message = unsafe { &mut *buffer };
    message.length = 0;
    let mut writer = Writer { message };
    // A message that is too long is truncated.
    let _ = match panic.payload_as_str() {
        Some(message) => writer.write_str(message),
        None => writer.write_str("no message"),
    };
    if let Some(location) = panic.location() {
        let _ = write!(writer, " ({}:{})", location.file(), location.line());
    }
    // No code of the rule reads the text, so without this the compiler may drop the writes.
    std::hint::black_box(buffer);
}

struct Writer<'m> {
    message: &'m mut MessageBuffer,
}

impl Write for Writer<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let begin = self.message.length as usize;
        let room = MAX_MESSAGE_BYTES - begin;
        let text = &text.as_bytes()[..text.len().min(room)];
        self.message.text[begin..begin + text.len()].copy_from_slice(text);
        self.message.length += u32::try_from(text.len()).unwrap_or(0);
        Ok(())
    }
}
