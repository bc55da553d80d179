//! Writes the message of a panic where the host looks for it. A rule imports nothing, so there is no one to
//! call; but when it traps, the host reads sixteen known bytes, a length, and so many bytes of text.

#![expect(
    unsafe_code,
    reason = "the place has to stay where the host looks for it, in a static that changes"
)]

use std::cell::UnsafeCell;
use std::fmt::{self, Write};
use std::panic::{self, PanicHookInfo};
use std::sync::Once;

const MAX_MESSAGE_BYTES: usize = 1000;

#[repr(C)]
struct Words {
    marker: [u8; 16],
    length: u32,
    text: [u8; MAX_MESSAGE_BYTES],
}

struct Place(UnsafeCell<Words>);

// SAFETY: an instance of a rule has one thread; the contract has no way to make a second one.
unsafe impl Sync for Place {}

static MESSAGE: Place = Place(UnsafeCell::new(Words {
    marker: *b"\x00last-words\x00v1\x00\x00",
    length: 0,
    text: [0; MAX_MESSAGE_BYTES],
}));

/// From here on a panic leaves its message and its line behind.
pub fn keep() {
    static KEPT: Once = Once::new();
    KEPT.call_once(|| panic::set_hook(Box::new(write_down)));
}

fn write_down(panic: &PanicHookInfo<'_>) {
    let place = MESSAGE.0.get();
    // SAFETY: one thread, and a panic inside this hook ends the instance without a second run of it.
    let words = unsafe { &mut *place };
    words.length = 0;
    let mut pen = Pen { words };
    // Where there is no room left, the beginning has to do.
    let _ = match panic.payload_as_str() {
        Some(message) => pen.write_str(message),
        None => pen.write_str("it did not say why"),
    };
    if let Some(place) = panic.location() {
        let _ = write!(pen, " ({}:{})", place.file(), place.line());
    }
    // Without this the compiler may keep the text to itself: nobody in here reads it.
    std::hint::black_box(place);
}

struct Pen<'w> {
    words: &'w mut Words,
}

impl Write for Pen<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let begin = self.words.length as usize;
        let room = MAX_MESSAGE_BYTES - begin;
        let text = &text.as_bytes()[..text.len().min(room)];
        self.words.text[begin..begin + text.len()].copy_from_slice(text);
        self.words.length += u32::try_from(text.len()).unwrap_or(0);
        Ok(())
    }
}
