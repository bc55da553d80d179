//! A list whose items are read while it is serialized, so a response of any length needs the memory of one item. This
//! module does not know the items or their source.

use std::cell::RefCell;
use std::io;

use serde::ser::{Error, SerializeSeq};
use serde::{Serialize, Serializer};

/// Reads the items in order and passes each on; it stops early when the callback returns `false`.
type Read<T> = dyn FnMut(&mut dyn FnMut(&T) -> bool) -> io::Result<()> + Send;

/// A list that is read again each time it is serialized. A read error fails the serialization, so that no client
/// mistakes a part for the whole.
pub(super) struct Streamed<T>(RefCell<Box<Read<T>>>);

impl<T> Streamed<T> {
    /// The list that `read` yields.
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
        // If the client has closed the connection, that is why reading stopped.
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
                true => Err(io::Error::other("the database is unreachable")),
                false => Ok(()),
            }
        })
    }

    /// Accepts so many bytes and then fails.
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
    fn a_list_is_serialized_while_it_is_read() {
        let write = |list| serde_json::to_string(&list).map_err(|error| error.to_string());
        assert_eq!(write(numbers(0, false)), Ok("[]".to_owned()));
        assert_eq!(write(numbers(3, false)), Ok("[0,1,2]".to_owned()));
        assert_eq!(write(numbers(3, true)), Err("the database is unreachable".to_owned()));
    }

    #[test]
    fn a_disconnected_client_ends_the_reading() {
        let error =
            serde_json::to_writer(Reader(100), &numbers(u32::MAX, true)).expect_err("the reader has disconnected");
        assert_eq!(error.io_error_kind(), Some(io::ErrorKind::BrokenPipe));
    }
}
