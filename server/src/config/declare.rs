//! The `section!` macro, which generates from one declaration a section's struct, documentation, parser,
//! defaults and list of keys. It knows no setting by name.

use serde_json::Value;

use super::errors::ConfigErrors;
use super::origin::SettingLocation;
use super::raw_settings::{Reader, plain};
use super::setting::Setting;

/// A declared setting.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    /// The doc comment.
    pub(super) meaning: String,
    pub(super) shape: Shape,
}

/// A value, or a table of settings.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    Leaf(Leaf),
    Table(Vec<Field>),
}

/// The properties of a value.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    /// The type as the documentation shows it.
    pub(super) kind: String,
    /// Null for an optional setting without a default.
    pub(super) default: Value,
    pub(super) bounds: Option<[Value; 2]>,
    pub(super) of_text: fn(&str) -> Result<Value, String>,
    /// The settings of each table, if the value is a list of tables.
    pub(super) fields_of_each: Vec<Field>,
}

impl Field {
    pub(super) fn of<T: Setting>(name: &'static str, comment: &[&str]) -> Self {
        let fields = T::fields();
        let shape = if fields.is_empty() {
            Shape::Leaf(Leaf {
                kind: T::kind(),
                default: Value::Null,
                bounds: None,
                of_text: T::of_text,
                fields_of_each: T::fields_of_each(),
            })
        } else {
            Shape::Table(fields)
        };
        let meaning = joined(comment);
        Self { name, meaning, shape }
    }

    pub(super) fn between(mut self, bounds: [Value; 2]) -> Self {
        if let Shape::Leaf(leaf) = &mut self.shape {
            leaf.bounds = Some(bounds);
        }
        self
    }

    pub(super) fn or(mut self, default: Value) -> Self {
        if let Shape::Leaf(leaf) = &mut self.shape {
            leaf.default = default;
        }
        self
    }
}

impl Leaf {
    /// The type with its bounds, for the documentation.
    pub(super) fn written_as(&self) -> String {
        match &self.bounds {
            Some([min, max]) => format!("{}, {} to {}", self.kind, plain(min), plain(max)),
            None => self.kind.clone(),
        }
    }
}

/// The defaults of all settings as one tree.
pub(super) fn defaults(fields: &[Field]) -> Value {
    let defaults = fields.iter().map(|field| match &field.shape {
        Shape::Leaf(leaf) => (field.name.to_owned(), leaf.default.clone()),
        Shape::Table(below) => (field.name.to_owned(), defaults(below)),
    });
    Value::Object(defaults.collect())
}

/// Checks of a section that involve more than one setting.
pub(super) trait Checked: Sized {
    /// Checks settings that depend on each other.
    fn check(&mut self, _reader: &mut Reader<'_>) {}

    /// Checks a list of such sections.
    fn check_list(_all: &[Self], _location: &SettingLocation, _errors: &mut ConfigErrors) {}
}

/// The lines of a doc comment as one text.
fn joined(comment: &[&str]) -> String {
    let lines: Vec<_> = comment.iter().map(|line| line.trim()).collect();
    lines.join(" ").trim().to_owned()
}

/// Declares a section: a struct whose fields are settings. After the type, `where` gives bounds and `=` the
/// default, both written as in a file. Without a default the value is null, which the type must accept. A last
/// field after `..` is not a setting and starts as its type's default.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        pub struct $name:ident {
            $(
                $(#[doc = $meaning:literal])+
                pub $field:ident: $type:ty $(where $least:literal ..= $most:literal)? $(= $default:expr)?,
            )+
            $(.. $rest:ident: $rest_type:ty)?
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $( $(#[doc = $meaning])+ pub $field: $type, )+
            $( $rest: $rest_type, )?
        }

        impl $crate::config::setting::Setting for $name {
            fn kind() -> String {
                "table".to_owned()
            }

            fn fields() -> Vec<$crate::config::declare::Field> {
                vec![$(
                    $crate::config::declare::Field::of::<$type>(stringify!($field), &[$($meaning),+])
                        $(.between([::serde_json::json!($least), ::serde_json::json!($most)]))?
                        $(.or(::serde_json::json!($default)))?
                ),+]
            }

            fn read(
                value: &::serde_json::Value,
                location: &$crate::config::origin::SettingLocation,
                errors: &mut $crate::config::errors::ConfigErrors,
            ) -> Option<Self> {
                let given = $crate::config::raw_settings::RawSettings::of_item(Self::fields(), value, location, errors)?;
                Self::gather(&mut $crate::config::raw_settings::Reader::new(&given, errors))
            }

            fn take(reader: &mut $crate::config::raw_settings::Reader<'_>, name: &str) -> Option<Self> {
                Self::gather(&mut reader.nested(name))
            }

            fn written(&self) -> ::serde_json::Value {
                let mut table = ::serde_json::Map::new();
                $( table.insert(stringify!($field).to_owned(), self.$field.written()); )+
                ::serde_json::Value::Object(table)
            }

            fn differences(&self, other: &Self, key: &str, different: &mut Vec<String>) {
                $(
                    let key_of_field = $crate::config::setting::dotted_on(key, stringify!($field));
                    self.$field.differences(&other.$field, &key_of_field, different);
                )+
            }

            fn check_list(
                all: &[Self],
                location: &$crate::config::origin::SettingLocation,
                errors: &mut $crate::config::errors::ConfigErrors,
            ) {
                <Self as $crate::config::declare::Checked>::check_list(all, location, errors);
            }
        }

        impl $name {
            /// Reads every setting before it fails, so that all errors are reported.
            pub(in $crate::config) fn gather(reader: &mut $crate::config::raw_settings::Reader<'_>) -> Option<Self> {
                $(
                    let $field = <$type as $crate::config::setting::Setting>::take(reader, stringify!($field));
                    $(
                        let bounds = [::serde_json::json!($least), ::serde_json::json!($most)];
                        let $field = $field.filter(|value| reader.is_within(value, stringify!($field), bounds));
                    )?
                )+
                let mut gathered = Self {
                    $( $field: $field?, )+
                    $( $rest: <$rest_type>::default(), )?
                };
                $crate::config::declare::Checked::check(&mut gathered, reader);
                Some(gathered)
            }
        }
    };
}

pub(super) use section;
