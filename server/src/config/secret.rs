//! What must not be told: it is masked wherever settings are shown, and no mistake repeats it.

use std::fmt;

use serde_json::Value;

use super::mistakes::Mistakes;
use super::origin::Place;
use super::setting::Setting;

/// What stands where a secret would.
pub(super) const MASK: &str = "********";

/// A secret. `==` tells whether two configurations differ; whether a client's is right takes a comparison in
/// constant time.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T = String>(T);

impl<T> Secret<T> {
    /// What must not be told from now on.
    pub fn new(secret: T) -> Self {
        Self(secret)
    }

    /// The secret itself, for the one who needs it.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl<T: Setting> Setting for Secret<T> {
    fn kind() -> String {
        T::kind()
    }

    fn read(value: &Value, place: &Place, mistakes: &mut Mistakes) -> Option<Self> {
        let place = Place {
            secret: true,
            ..place.clone()
        };
        T::read(value, &place, mistakes).map(Self)
    }

    fn written(&self) -> Value {
        Value::from(MASK)
    }

    fn of_text(text: &str) -> Result<Value, String> {
        T::of_text(text)
    }
}
