//! Settings that are one word out of a few. The words, what they mean and the type stand once.

/// Declares a type whose values are words.
macro_rules! words {
    (
        $(#[doc = $about:literal])+
        pub enum $name:ident {
            $( $(#[doc = $meaning:literal])+ $word:ident = $text:literal, )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $( $(#[doc = $meaning])+ $word, )+
        }

        impl $name {
            /// The word as it is written.
            pub fn as_str(self) -> &'static str {
                match self {
                    $( Self::$word => $text, )+
                }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::config::setting::Setting for $name {
            fn kind() -> String {
                [$($text),+].join(" or ")
            }

            fn read(
                value: &::serde_json::Value,
                place: &$crate::config::origin::Place,
                mistakes: &mut $crate::config::mistakes::Mistakes,
            ) -> Option<Self> {
                // A version is a number to whoever leaves the quotes away.
                let text = match value {
                    ::serde_json::Value::Number(number) => number.to_string(),
                    value => value.as_str().unwrap_or_default().to_owned(),
                };
                match text.as_str() {
                    $( $text => Some(Self::$word), )+
                    _ => {
                        let words = [$(concat!("\"", $text, "\"")),+].join(" or ");
                        mistakes.push(place.wrong(value, &words));
                        None
                    }
                }
            }

            fn written(&self) -> ::serde_json::Value {
                ::serde_json::Value::from(self.as_str())
            }
        }
    };
}

pub(super) use words;
