//! A list in an answer whose items are read while they are written, so that an answer of any length takes the memory of
//! one item. What is in the list and where it comes from is not known here.

use std::cell::RefCell;
use std::io;

use serde::ser::{Error, SerializeSeq};
use serde::{Serialize, Serializer};

/// Reads the items, one after the other, and passes each on; it ends early when it is answered `false`.
type Read<T> = dyn FnMut(&mut dyn FnMut(&T) -> bool) -> io::Result<()> + Send;

/// A list that is written by reading it: once for each time that it is serialized. What cannot be read breaks the
/// serialization, so that nobody takes a part for the whole.
pub(super) struct Streamed<T>(RefCell<Box<Read<T>>>);

impl<T> Streamed<T> {
    /// The list that `read` reads.
    pub(super) fn new(read: impl FnMut(&mut dyn FnMut(&T) -> bool) -> io::Result<()> + Send + 'static) -> Self {
        Self(RefCell::new(Box::new(read)))
    }
}

impl<T: Serialize> Serialize for Streamed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        let mut written = Ok(());
        let read = (self.0.borrow_mut())(&mut |item| {
            written = list.serialize_element(item);
            written.is_ok()
        });
        // Where nobody takes the answer any more, that is why reading ended.
        written?;
        read.map_err(S::Error::custom)?;
        list.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(upto: u32, broken: bool) -> Streamed<u32> {
        Streamed::new(move |take| {
            let all_taken = (0..upto).all(|number| take(&number));
            match broken && all_taken {
                true => Err(io::Error::other("the database is gone")),
                false => Ok(()),
            }
        })
    }

    /// Takes so many bytes and then no more.
    struct Reader(usize);

    impl io::Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_list_is_written_as_it_is_read() {
        let write = |list| serde_json::to_string(&list).map_err(|error| error.to_string());
        assert_eq!(write(numbers(0, false)), Ok("[]".to_owned()));
        assert_eq!(write(numbers(3, false)), Ok("[0,1,2]".to_owned()));
        assert_eq!(write(numbers(3, true)), Err("the database is gone".to_owned()));
    }

    #[test]
    fn a_reader_that_is_gone_ends_the_reading() {
        let error = serde_json::to_writer(Reader(100), &numbers(u32::MAX, true)).expect_err("nobody reads");
        assert_eq!(error.io_error_kind(), Some(io::ErrorKind::BrokenPipe));
    }
}
