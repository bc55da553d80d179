//! Merges the layers: for each known setting, the value of the highest layer and its origin. Unknown keys are
//! reported here; values are parsed by the settings.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::declare::{Field, Leaf, Shape};
use super::errors::{ConfigError, ConfigErrors, nearest};
use super::origin::{Origin, SettingLocation};
use super::setting::{Setting, dotted_on};
use super::sources::{PREFIX, Variable};

/// Parses the text of a variable or a flag.
pub(super) type ParseText = fn(&str) -> Result<Value, String>;

/// The merged values of a table, by dotted key within that table.
pub(super) struct RawSettings {
    fields: Vec<Field>,
    settings: BTreeMap<String, (Value, SettingLocation)>,
}

impl RawSettings {
    /// The lowest layer. `table` is the location of the table itself.
    pub(super) fn defaults(fields: Vec<Field>, table: &SettingLocation, folder: &Path) -> Self {
        let mut settings = BTreeMap::new();
        for (key, _, leaf) in leaves(&fields) {
            // A setting without a default is reported as missing where its table is.
            let origin = match leaf.default {
                Value::Null => table.origin.clone(),
                _ => Origin::Default,
            };
            let location = SettingLocation {
                origin,
                key: dotted_on(&table.key, &key),
                folder: folder.to_owned(),
                secret: false,
            };
            settings.insert(key, (leaf.default.clone(), location));
        }
        Self { fields, settings }
    }

    /// The settings of a table in a list, all of which are in `value`.
    pub(super) fn of_item(
        fields: Vec<Field>,
        value: &Value,
        table: &SettingLocation,
        errors: &mut ConfigErrors,
    ) -> Option<Self> {
        let Value::Object(tree) = value else {
            errors.push(table.wrong_type(value, "a table of settings"));
            return None;
        };
        let mut given = Self::defaults(fields, table, &table.folder);
        given.merge_table(tree.clone(), table, errors);
        Some(given)
    }

    /// Merges a tree, such as that of a file, over the existing values.
    pub(super) fn merge_table(&mut self, tree: Map<String, Value>, table: &SettingLocation, errors: &mut ConfigErrors) {
        let fields = std::mem::take(&mut self.fields);
        self.merge_fields(&fields, tree, "", table, errors);
        self.fields = fields;
    }

    fn merge_fields(
        &mut self,
        fields: &[Field],
        tree: Map<String, Value>,
        key: &str,
        table: &SettingLocation,
        errors: &mut ConfigErrors,
    ) {
        for (name, value) in tree {
            let location = table.field(&name);
            let Some(field) = fields.iter().find(|field| field.name == name) else {
                errors.push(location.error(unknown(&name, fields)));
                continue;
            };
            let key = dotted_on(key, &name);
            match (&field.shape, value) {
                (Shape::Leaf(_), value) => {
                    self.settings.insert(key, (value, location));
                }
                (Shape::Table(below), Value::Object(tree)) => self.merge_fields(below, tree, &key, &location, errors),
                // An empty section in YAML.
                (Shape::Table(_), Value::Null) => {}
                (Shape::Table(_), value) => errors.push(location.wrong_type(&value, "a table of settings")),
            }
        }
    }

    /// Merges an environment variable over the existing values.
    pub(super) fn merge_variable(&mut self, variable: Variable, folder: &Path, errors: &mut ConfigErrors) {
        let known = leaves(&self.fields)
            .into_iter()
            .map(|(key, _, leaf)| (variable_of(&key), key, leaf.of_text))
            .collect::<Vec<_>>();
        let Variable { name, text, origin } = variable;
        match known.iter().find(|(variable, ..)| *variable == name) {
            Some((_, key, of_text)) => self.set_text(key.clone(), *of_text, &text, origin, folder, errors),
            None => errors.push(ConfigError {
                origin,
                key: String::new(),
                remedy: unknown_variable(&name, known.iter().map(|(variable, ..)| variable.as_str())),
            }),
        }
    }

    /// Merges a flag over the existing values.
    pub(super) fn merge_flag(&mut self, key: &str, text: &str, folder: &Path, errors: &mut ConfigErrors) {
        let origin = Origin::Flag(key.to_owned());
        let known = leaves(&self.fields)
            .into_iter()
            .map(|(key, _, leaf)| (key, leaf.of_text))
            .collect::<Vec<_>>();
        match known.iter().find(|(known, _)| known == key) {
            Some((key, of_text)) => self.set_text(key.clone(), *of_text, text, origin, folder, errors),
            None => errors.push(ConfigError {
                origin,
                key: String::new(),
                remedy: match nearest(key, known.iter().map(|(known, _)| known.as_str())) {
                    Some(near) => format!("unknown setting; did you mean {near}?"),
                    None => "unknown setting; docs/CONFIGURATION.md lists them".to_owned(),
                },
            }),
        }
    }

    fn set_text(
        &mut self,
        key: String,
        of_text: ParseText,
        text: &str,
        origin: Origin,
        folder: &Path,
        errors: &mut ConfigErrors,
    ) {
        self.set_value(&key, of_text(text), origin, folder, errors);
    }

    /// Sets a value, or reports why the text has none.
    pub(super) fn set_value(
        &mut self,
        key: &str,
        value: Result<Value, String>,
        origin: Origin,
        folder: &Path,
        errors: &mut ConfigErrors,
    ) {
        let location = SettingLocation {
            origin,
            key: key.to_owned(),
            folder: folder.to_owned(),
            secret: false,
        };
        match value {
            Ok(value) => {
                self.settings.insert(key.to_owned(), (value, location));
            }
            Err(remedy) => errors.push(location.error(remedy)),
        }
    }

    /// The current value of a setting, if the setting exists.
    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        self.settings.get(key).map(|(value, _)| value)
    }

    /// The parser of a setting that no layer has set, if the setting exists.
    pub(super) fn unset(&self, key: &str) -> Option<ParseText> {
        let (_, location) = self.settings.get(key)?;
        let (.., leaf) = leaves(&self.fields).into_iter().find(|(known, ..)| known == key)?;
        (location.origin == Origin::Default).then_some(leaf.of_text)
    }

    /// The origin of each setting.
    pub(super) fn origins(&self) -> BTreeMap<String, Origin> {
        let origins = self.settings.iter();
        origins
            .map(|(key, (_, location))| (key.clone(), location.origin.clone()))
            .collect()
    }
}

/// Reads a table from the merged values.
pub(super) struct Reader<'a> {
    given: &'a RawSettings,
    key: String,
    pub(super) errors: &'a mut ConfigErrors,
}

impl<'a> Reader<'a> {
    pub(super) fn new(given: &'a RawSettings, errors: &'a mut ConfigErrors) -> Self {
        let key = String::new();
        Self { given, key, errors }
    }

    /// A reader for the nested table of this name.
    pub(super) fn nested(&mut self, name: &str) -> Reader<'_> {
        Reader {
            given: self.given,
            key: dotted_on(&self.key, name),
            errors: self.errors,
        }
    }

    /// The value of a setting of this table. Every known setting has one, possibly null.
    pub(super) fn given(&self, name: &str) -> Option<(&'a Value, &'a SettingLocation)> {
        let (value, location) = self.given.settings.get(&dotted_on(&self.key, name))?;
        Some((value, location))
    }

    /// Whether a layer sets it to a value other than null.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.given(name)
            .is_some_and(|(value, location)| !value.is_null() && location.origin != Origin::Default)
    }

    /// Reports settings that contradict each other, at the first one that a layer sets.
    pub(super) fn error(&mut self, names: &[&str], remedy: impl Into<String>) {
        let first_set = names.iter().find(|name| self.is_set(name)).or(names.first());
        if let Some((_, location)) = first_set.and_then(|name| self.given(name)) {
            self.errors.push(location.error(remedy));
        }
    }

    /// Whether the value is within its bounds, which are written as the value itself. An unset value is.
    pub(super) fn is_within<T: Setting + PartialOrd>(&mut self, value: &T, name: &str, bounds: [Value; 2]) -> bool {
        let Some((given, location)) = self.given(name) else {
            return true;
        };
        if given.is_null() {
            return true;
        }
        let mut ends = bounds.iter().map(|bound| T::read(bound, location, self.errors));
        let (Some(Some(min)), Some(Some(max))) = (ends.next(), ends.next()) else {
            return false;
        };
        let inside = *value >= min && *value <= max;
        if !inside {
            let expected = format!("a value from {} to {}", plain(&bounds[0]), plain(&bounds[1]));
            self.errors.push(location.wrong(given, &expected));
        }
        inside
    }
}

/// A bound for an error message.
pub(super) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The variable that sets this key.
pub(super) fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

/// All settings of these fields, by dotted key; a list of tables is one setting.
pub(super) fn leaves(fields: &[Field]) -> Vec<(String, &Field, &Leaf)> {
    let mut found = Vec::new();
    for field in fields {
        match &field.shape {
            Shape::Leaf(leaf) => found.push((field.name.to_owned(), field, leaf)),
            Shape::Table(below) => {
                let below = leaves(below).into_iter();
                found.extend(below.map(|(key, leaf_field, leaf)| (format!("{}.{key}", field.name), leaf_field, leaf)));
            }
        }
    }
    found
}

/// Also suggests a setting of a nested section, such as `log.level` for `level` at the top.
fn unknown(name: &str, here: &[Field]) -> String {
    let siblings = here.iter().map(|field| field.name);
    if let Some(near) = nearest(name, siblings.clone()) {
        return format!("unknown setting; did you mean {near}?");
    }
    if let Some((below, ..)) = leaves(here).iter().find(|(_, field, _)| field.name == name) {
        return format!("unknown setting; did you mean {below}?");
    }
    let known: Vec<_> = siblings.collect();
    format!("unknown setting; known settings here are {}", known.join(", "))
}

fn unknown_variable<'n>(name: &str, known: impl Iterator<Item = &'n str> + Clone) -> String {
    let list = known.clone().find(|known| name.starts_with(&format!("{known}__")));
    if let Some(list) = list {
        return format!("elements cannot be set individually; set {list} to the whole value as JSON");
    }
    let inside = format!("{name}__");
    if known.clone().any(|known| known.starts_with(&inside)) {
        return format!("this is a section; set one of its settings, such as {inside}…");
    }
    match nearest(name, known) {
        Some(near) => format!("unknown variable; did you mean {near}?"),
        None => {
            "unknown variable; docs/CONFIGURATION.md lists the settings; write __ between section and key".to_owned()
        }
    }
}
