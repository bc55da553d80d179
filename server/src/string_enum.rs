//! Enums with a text form: variants, texts and meanings are declared in one place. `config` parses settings of such
//! types.

/// An enum declared by [`string_enum!`].
pub(crate) trait StringEnum: Copy + PartialEq {
    /// The texts of all variants, in the order of their declaration.
    const TEXTS: &'static [&'static str];

    /// The variant that has this text.
    fn of_text(text: &str) -> Option<Self>;

    /// The text of this variant.
    fn text(self) -> &'static str;
}

/// Declares an enum with a text for each variant.
macro_rules! string_enum {
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
            /// The text form.
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

        impl $crate::string_enum::StringEnum for $name {
            const TEXTS: &'static [&'static str] = &[$($text),+];

            fn of_text(text: &str) -> Option<Self> {
                match text {
                    $( $text => Some(Self::$word), )+
                    _ => None,
                }
            }

            fn text(self) -> &'static str {
                self.as_str()
            }
        }
    };
}

pub(crate) use string_enum;
