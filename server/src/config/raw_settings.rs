//! The layers laid over each other: for each known setting the value that was said last, and where. Keys that
//! nobody knows are found here. What the values mean is for the settings.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::declare::{Field, Leaf, Shape};
use super::errors::{ConfigError, ConfigErrors, nearest};
use super::origin::{Origin, SettingLocation};
use super::setting::{Setting, dotted_on};
use super::sources::{PREFIX, Variable};

/// How a setting reads the text of a variable or a flag.
pub(super) type ParseText = fn(&str) -> Result<Value, String>;

/// What was said about each setting of a table, by its dotted key within that table.
pub(super) struct RawSettings {
    fields: Vec<Field>,
    settings: BTreeMap<String, (Value, SettingLocation)>,
}

impl RawSettings {
    /// The lowest layer. `table` is the place of the table itself.
    pub(super) fn defaults(fields: Vec<Field>, table: &SettingLocation, folder: &Path) -> Self {
        let mut settings = BTreeMap::new();
        for (key, _, leaf) in leaves(&fields) {
            // What has no default is missing where the table is.
            let origin = match leaf.default {
                Value::Null => table.origin.clone(),
                _ => Origin::Default,
            };
            let place = SettingLocation {
                origin,
                key: dotted_on(&table.key, &key),
                folder: folder.to_owned(),
                secret: false,
            };
            settings.insert(key, (leaf.default.clone(), place));
        }
        Self { fields, settings }
    }

    /// What was said about a table in a list, which is all in `value`.
    pub(super) fn of_item(
        fields: Vec<Field>,
        value: &Value,
        table: &SettingLocation,
        mistakes: &mut ConfigErrors,
    ) -> Option<Self> {
        let Value::Object(tree) = value else {
            mistakes.push(table.wrong_sort(value, "a table of settings"));
            return None;
        };
        let mut given = Self::defaults(fields, table, &table.folder);
        given.merge_table(tree.clone(), table, mistakes);
        Some(given)
    }

    /// Lays a tree over what is there, such as that of a file.
    pub(super) fn merge_table(
        &mut self,
        tree: Map<String, Value>,
        table: &SettingLocation,
        mistakes: &mut ConfigErrors,
    ) {
        let fields = std::mem::take(&mut self.fields);
        self.lay_table(&fields, tree, "", table, mistakes);
        self.fields = fields;
    }

    fn lay_table(
        &mut self,
        fields: &[Field],
        tree: Map<String, Value>,
        key: &str,
        table: &SettingLocation,
        mistakes: &mut ConfigErrors,
    ) {
        for (name, value) in tree {
            let place = table.field(&name);
            let Some(field) = fields.iter().find(|field| field.name == name) else {
                mistakes.push(place.mistake(unknown(&name, fields)));
                continue;
            };
            let key = dotted_on(key, &name);
            match (&field.shape, value) {
                (Shape::Leaf(_), value) => {
                    self.settings.insert(key, (value, place));
                }
                (Shape::Table(below), Value::Object(tree)) => self.lay_table(below, tree, &key, &place, mistakes),
                // A heading with nothing under it, in YAML.
                (Shape::Table(_), Value::Null) => {}
                (Shape::Table(_), value) => mistakes.push(place.wrong_sort(&value, "a table of settings")),
            }
        }
    }

    /// Lays a variable of the environment over what is there.
    pub(super) fn lay_variable(&mut self, variable: Variable, folder: &Path, mistakes: &mut ConfigErrors) {
        let known = leaves(&self.fields)
            .into_iter()
            .map(|(key, _, leaf)| (variable_of(&key), key, leaf.of_text))
            .collect::<Vec<_>>();
        let Variable { name, text, origin } = variable;
        match known.iter().find(|(variable, ..)| *variable == name) {
            Some((_, key, of_text)) => self.lay_text(key.clone(), *of_text, &text, origin, folder, mistakes),
            None => mistakes.push(ConfigError {
                origin,
                key: String::new(),
                remedy: unknown_variable(&name, known.iter().map(|(variable, ..)| variable.as_str())),
            }),
        }
    }

    /// Lays a flag over what is there.
    pub(super) fn lay_flag(&mut self, key: &str, text: &str, folder: &Path, mistakes: &mut ConfigErrors) {
        let origin = Origin::Flag(key.to_owned());
        let known = leaves(&self.fields)
            .into_iter()
            .map(|(key, _, leaf)| (key, leaf.of_text))
            .collect::<Vec<_>>();
        match known.iter().find(|(known, _)| known == key) {
            Some((key, of_text)) => self.lay_text(key.clone(), *of_text, text, origin, folder, mistakes),
            None => mistakes.push(ConfigError {
                origin,
                key: String::new(),
                remedy: match nearest(key, known.iter().map(|(known, _)| known.as_str())) {
                    Some(near) => format!("there is no such setting; did you mean {near}?"),
                    None => "there is no such setting; docs/CONFIGURATION.md lists them".to_owned(),
                },
            }),
        }
    }

    fn lay_text(
        &mut self,
        key: String,
        of_text: ParseText,
        text: &str,
        origin: Origin,
        folder: &Path,
        mistakes: &mut ConfigErrors,
    ) {
        self.lay_value(&key, of_text(text), origin, folder, mistakes);
    }

    /// Lays a value over what is there, or says why it is none.
    pub(super) fn lay_value(
        &mut self,
        key: &str,
        value: Result<Value, String>,
        origin: Origin,
        folder: &Path,
        mistakes: &mut ConfigErrors,
    ) {
        let place = SettingLocation {
            origin,
            key: key.to_owned(),
            folder: folder.to_owned(),
            secret: false,
        };
        match value {
            Ok(value) => {
                self.settings.insert(key.to_owned(), (value, place));
            }
            Err(remedy) => mistakes.push(place.mistake(remedy)),
        }
    }

    /// What was said last about a setting, if there is such a setting.
    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        self.settings.get(key).map(|(value, _)| value)
    }

    /// How a setting that nobody has spoken of reads a text, if there is such a setting.
    pub(super) fn unset(&self, key: &str) -> Option<ParseText> {
        let (_, place) = self.settings.get(key)?;
        let (.., leaf) = leaves(&self.fields).into_iter().find(|(known, ..)| known == key)?;
        (place.origin == Origin::Default).then_some(leaf.of_text)
    }

    /// Where each setting comes from.
    pub(super) fn origins(&self) -> BTreeMap<String, Origin> {
        let origins = self.settings.iter();
        origins
            .map(|(key, (_, place))| (key.clone(), place.origin.clone()))
            .collect()
    }
}

/// Reads a table out of what was given.
pub(super) struct Reader<'a> {
    given: &'a RawSettings,
    key: String,
    pub(super) mistakes: &'a mut ConfigErrors,
}

impl<'a> Reader<'a> {
    pub(super) fn new(given: &'a RawSettings, mistakes: &'a mut ConfigErrors) -> Self {
        let key = String::new();
        Self { given, key, mistakes }
    }

    /// Reads the table of this name in this one.
    pub(super) fn nested(&mut self, name: &str) -> Reader<'_> {
        Reader {
            given: self.given,
            key: dotted_on(&self.key, name),
            mistakes: self.mistakes,
        }
    }

    /// What was said about a setting of this table. Every known one has a default, if only nothing.
    pub(super) fn given(&self, name: &str) -> Option<(&'a Value, &'a SettingLocation)> {
        let (value, place) = self.given.settings.get(&dotted_on(&self.key, name))?;
        Some((value, place))
    }

    /// Whether somebody said it.
    pub(super) fn was_said(&self, name: &str) -> bool {
        self.given(name)
            .is_some_and(|(value, place)| !value.is_null() && place.origin != Origin::Default)
    }

    /// Says what is wrong with settings that do not go together, at the first that somebody said.
    pub(super) fn mistake(&mut self, names: &[&str], remedy: impl Into<String>) {
        let said = names.iter().find(|name| self.was_said(name)).or(names.first());
        if let Some((_, place)) = said.and_then(|name| self.given(name)) {
            self.mistakes.push(place.mistake(remedy));
        }
    }

    /// Whether a value lies between its bounds, which are written like itself. What is not set does.
    pub(super) fn is_within<T: Setting + PartialOrd>(&mut self, value: &T, name: &str, bounds: [Value; 2]) -> bool {
        let Some((given, place)) = self.given(name) else {
            return true;
        };
        if given.is_null() {
            return true;
        }
        let mut ends = bounds.iter().map(|bound| T::read(bound, place, self.mistakes));
        let (Some(Some(least)), Some(Some(most))) = (ends.next(), ends.next()) else {
            return false;
        };
        let inside = *value >= least && *value <= most;
        if !inside {
            let wanted = format!("a value from {} to {}", plain(&bounds[0]), plain(&bounds[1]));
            self.mistakes.push(place.wrong(given, &wanted));
        }
        inside
    }
}

/// A bound as it stands in a sentence.
pub(super) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The variable that sets this key.
pub(super) fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

/// All settings of these fields, by their dotted keys; lists of tables count as one.
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

/// A name that belongs into a section below is found there too: `level` at the top.
fn unknown(name: &str, here: &[Field]) -> String {
    let siblings = here.iter().map(|field| field.name);
    if let Some(near) = nearest(name, siblings.clone()) {
        return format!("there is no such setting; did you mean {near}?");
    }
    if let Some((below, ..)) = leaves(here).iter().find(|(_, field, _)| field.name == name) {
        return format!("there is no such setting; did you mean {below}?");
    }
    let known: Vec<_> = siblings.collect();
    format!("there is no such setting; known here are {}", known.join(", "))
}

fn unknown_variable<'n>(name: &str, known: impl Iterator<Item = &'n str> + Clone) -> String {
    let list = known.clone().find(|known| name.starts_with(&format!("{known}__")));
    if let Some(list) = list {
        return format!("what is inside cannot be set by itself; write the whole as JSON into {list}");
    }
    let inside = format!("{name}__");
    if known.clone().any(|known| known.starts_with(&inside)) {
        return format!("this is a section; set what is in it, such as {inside}…");
    }
    match nearest(name, known) {
        Some(near) => format!("no setting is called so; did you mean {near}?"),
        None => "no setting is called so; docs/CONFIGURATION.md lists them, with __ between section and key".to_owned(),
    }
}
