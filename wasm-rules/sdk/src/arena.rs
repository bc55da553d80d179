//! A bump allocator for rules: it never frees memory, because the host discards the instance after each call. It starts
//! with the rest of the last page of stack and data, which is enough for one request. So memory rarely grows, which
//! would cost more than most judgements, and stays small, because the host zeroes all of it after each call.

#![expect(unsafe_code, reason = "an allocator hands out raw memory")]

use std::alloc::{GlobalAlloc, Layout};
use std::arch::wasm32;
use std::cell::Cell;

/// The smallest step in which memory grows. The host grants it or ends the call.
const STEP_BYTES: usize = 1 << 20;
const PAGE_BYTES: usize = 64 << 10;

#[global_allocator]
static ARENA: Arena = Arena {
    next: Cell::new(0),
    end: Cell::new(0),
};

unsafe extern "C" {
    /// The end of stack and data, set by the linker.
    static __heap_base: u8;
}

struct Arena {
    next: Cell<usize>,
    end: Cell<usize>,
}

// SAFETY: an instance of a rule has one thread; the contract has no way to make a second one.
unsafe impl Sync for Arena {}

impl Arena {
    /// Grows the memory by at least `size` bytes; false where the host refuses.
    #[cold]
    fn extend(&self, size: usize, align: usize) -> bool {
        if self.end.get() == 0 {
            self.next.set(&raw const __heap_base as usize);
            self.end.set(wasm32::memory_size::<0>() * PAGE_BYTES);
            return true;
        }
        let pages = (size + align).max(STEP_BYTES).div_ceil(PAGE_BYTES);
        let before = wasm32::memory_grow::<0>(pages);
        if before == usize::MAX {
            return false;
        }
        let start = before * PAGE_BYTES;
        // New memory usually continues the old; only a gap moves `next`.
        if start != self.end.get() {
            self.next.set(start);
        }
        self.end.set(start + pages * PAGE_BYTES);
        true
    }
}

// SAFETY: each piece lies between `next` and `end`, which only move up, so no two pieces overlap; only the
// last piece is ever freed.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        loop {
            let start = self.next.get().next_multiple_of(layout.align());
            if let Some(end) = start.checked_add(layout.size()).filter(|end| *end <= self.end.get()) {
                self.next.set(end);
                return start as *mut u8;
            }
            if !self.extend(layout.size(), layout.align()) {
                return std::ptr::null_mut();
            }
        }
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        if piece as usize + layout.size() == self.next.get() {
            self.next.set(piece as usize);
        }
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let start = piece as usize;
        let is_last = start + layout.size() == self.next.get();
        if is_last && start.checked_add(size).is_some_and(|end| end <= self.end.get()) {
            self.next.set(start + size);
            return piece;
        }
        // SAFETY: the caller guarantees `size` and `piece`, and the new piece does not overlap the old one.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                std::ptr::copy_nonoverlapping(piece, new, layout.size().min(size));
            }
            new
        }
    }
}
