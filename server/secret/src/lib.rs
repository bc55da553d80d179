//! Values that are never printed: they are masked wherever settings are shown, and no error message includes them.

use std::fmt;

/// What is printed in place of a secret.
pub const MASK: &str = "********";

/// A secret. Use `==` only to compare configurations; checking a client's secret needs a comparison in constant time.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T = String>(T);

impl<T> Secret<T> {
    pub fn new(secret: T) -> Self {
        Self(secret)
    }

    /// The secret itself.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}
