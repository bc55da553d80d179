//! The format of a log line. Everything stays within its line: a message with a line break, which a client may have
//! sent, cannot forge another line.

use std::fmt::{self, Write as _};

use jiff::Timestamp;
use log::Record;
use log::kv::{Error, Key, Value, VisitSource, VisitValue};

/// `2026-11-21T01:31:27.472Z INFO watchpost::tls certificates reloaded generation=3`
pub(super) fn text(now: Timestamp, record: &Record<'_>) -> String {
    let mut line = format!("{now:.3} {} ", record.level());
    escape(&mut line, record.target());
    line.push(' ');
    let message = record.args();
    match message.as_str() {
        Some(message) => escape(&mut line, message),
        None => escape(&mut line, &message.to_string()),
    }
    // A value that cannot be formatted is omitted; what was written before stays.
    let _ = record.key_values().visit(&mut TextFields(&mut line));
    line.push('\n');
    line
}

/// `{"timestamp":…,"level":…,"target":…,"message":…}`, and the other fields.
pub(super) fn json(now: Timestamp, record: &Record<'_>) -> String {
    let mut fields = JsonFields {
        line: String::from("{"),
        names: Vec::new(),
    };
    fields.text("timestamp", &format!("{now:.3}"));
    fields.text("level", record.level().as_str());
    fields.text("target", record.target());
    fields.text("message", &record.args().to_string());
    let _ = record.key_values().visit(&mut fields);
    fields.line.push_str("}\n");
    fields.line
}

struct TextFields<'l>(&'l mut String);

impl<'k> VisitSource<'k> for TextFields<'_> {
    fn visit_pair(&mut self, key: Key<'k>, value: Value<'k>) -> Result<(), Error> {
        self.0.push(' ');
        let plain = |letter: char| !letter.is_whitespace() && !is_hidden(letter) && !matches!(letter, '"' | '=');
        let name = key.as_str().chars();
        self.0
            .extend(name.map(|letter| if plain(letter) { letter } else { '_' }));
        self.0.push('=');
        let value = value.to_string();
        if !value.is_empty() && value.chars().all(plain) {
            self.0.push_str(&value);
            return Ok(());
        }
        self.0.push('"');
        escape(self.0, &value.replace('\\', "\\\\").replace('"', "\\\""));
        self.0.push('"');
        Ok(())
    }
}

/// A JSON object under construction, in which names are unique.
struct JsonFields {
    line: String,
    names: Vec<String>,
}

impl JsonFields {
    fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        json_text(&mut self.line, value);
    }

    /// Appends `_` to a name that is taken, so that a field of a message cannot replace a standard field.
    fn name(&mut self, name: &str) {
        let mut name = name.to_owned();
        while self.names.contains(&name) {
            name.push('_');
        }
        if !self.names.is_empty() {
            self.line.push(',');
        }
        json_text(&mut self.line, &name);
        self.line.push(':');
        self.names.push(name);
    }
}

impl<'k> VisitSource<'k> for JsonFields {
    fn visit_pair(&mut self, key: Key<'k>, value: Value<'k>) -> Result<(), Error> {
        self.name(key.as_str());
        value.visit(JsonValue(&mut self.line))
    }
}

/// Numbers and booleans keep their type; everything else is text.
struct JsonValue<'l>(&'l mut String);

impl JsonValue<'_> {
    fn plain(&mut self, value: impl fmt::Display) {
        write!(self.0, "{value}").expect("writing to a String cannot fail");
    }
}

impl<'v> VisitValue<'v> for JsonValue<'_> {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), Error> {
        json_text(self.0, &value.to_string());
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), Error> {
        self.plain("null");
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), Error> {
        self.plain(value);
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), Error> {
        self.plain(value);
        Ok(())
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), Error> {
        if value.is_finite() {
            // Debug, because Display writes hundreds of zeros where an exponent would do.
            self.plain(format_args!("{value:?}"));
        } else {
            json_text(self.0, &value.to_string());
        }
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), Error> {
        self.plain(value);
        Ok(())
    }

    fn visit_str(&mut self, value: &str) -> Result<(), Error> {
        json_text(self.0, value);
        Ok(())
    }
}

fn json_text(line: &mut String, text: &str) {
    // A text always has a JSON form.
    line.push_str(&serde_json::Value::from(text).to_string());
}

fn escape(line: &mut String, text: &str) {
    for letter in text.chars() {
        if is_hidden(letter) {
            line.extend(letter.escape_default());
        } else {
            line.push(letter);
        }
    }
}

/// Invisible characters that a terminal interprets: they break lines, move the cursor, change the text direction.
fn is_hidden(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use log::Level;

    use super::*;

    type Fields<'f> = [(&'f str, Value<'f>)];

    fn now() -> Timestamp {
        Timestamp::from_millisecond(1_795_224_687_472).expect("a time")
    }

    fn lines(message: &str, fields: &Fields<'_>) -> (String, String) {
        let made = |form: fn(Timestamp, &Record<'_>) -> String| {
            let mut builder = Record::builder();
            builder.level(Level::Info).target("watchpost::tls").key_values(&fields);
            form(now(), &builder.args(format_args!("{message}")).build())
        };
        (made(text), made(json))
    }

    #[test]
    fn a_line_has_time_level_target_message_and_fields() {
        let fields: [(&str, Value<'_>); 2] = [("generation", 3.into()), ("path", "/etc/tls".into())];
        let (text, json) = lines("certificates reloaded", &fields);
        let expected =
            "2026-11-21T01:31:27.472Z INFO watchpost::tls certificates reloaded generation=3 path=/etc/tls\n";
        assert_eq!(text, expected);
        let expected = "{\"timestamp\":\"2026-11-21T01:31:27.472Z\",\"level\":\"INFO\",\"target\":\"watchpost::tls\",\
                        \"message\":\"certificates reloaded\",\"generation\":3,\"path\":\"/etc/tls\"}\n";
        assert_eq!(json, expected);
    }

    #[test]
    fn a_message_cannot_forge_a_line() {
        let forged = "x\n2026-11-21T01:31:27.472Z ERROR watchpost the disk burns\r\u{1b}[2K\u{85}\u{2028}\u{202e}";
        let fields = [("agent", Value::from(forged)), ("bad key\n=\"", Value::from("v"))];
        let (text, json) = lines(forged, &fields);
        for line in [&text, &json] {
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            assert!(line.ends_with('\n'));
            assert!(!line.contains('\u{1b}') && !line.contains('\r'), "{line}");
        }
        assert!(text.contains("x\\n2026"), "{text}");
        assert!(!text.contains(['\u{85}', '\u{2028}', '\u{202e}']), "{text}");
        assert!(text.contains(" bad_key___=v"), "{text}");
        let read: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(read["message"], forged);
        assert_eq!(read["agent"], forged);
    }

    #[test]
    fn values_are_quoted_when_they_could_be_misread() {
        for (value, expected) in [
            ("plain", "plain"),
            ("größe", "größe"),
            ("", "\"\""),
            ("two words", "\"two words\""),
            ("a=b", "\"a=b\""),
            ("say \"no\"", "\"say \\\"no\\\"\""),
            ("C:\\x y", "\"C:\\\\x y\""),
            ("a\tb", "\"a\\tb\""),
        ] {
            let (text, _) = lines("m", &[("key", value.into())]);
            assert!(text.ends_with(&format!(" m key={expected}\n")), "{text}");
        }
    }

    #[test]
    fn fields_of_a_message_do_not_replace_standard_fields() {
        let fields: [(&str, Value<'_>); 4] = [
            ("level", "ERROR".into()),
            ("message", "forged".into()),
            ("twice", 1.into()),
            ("twice", 2.into()),
        ];
        let (_, json) = lines("true", &fields);
        let read: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(read["level"], "INFO");
        assert_eq!(read["level_"], "ERROR");
        assert_eq!(read["message"], "true");
        assert_eq!(read["message_"], "forged");
        assert_eq!((&read["twice"], &read["twice_"]), (&1.into(), &2.into()));
    }

    #[test]
    fn numbers_and_booleans_keep_their_type_in_json() {
        let fields: [(&str, Value<'_>); 6] = [
            ("small", Value::from(1e-300)),
            ("none", Value::from(f64::NAN)),
            ("minus", Value::from(-5)),
            ("large", Value::from(u64::MAX)),
            ("yes", Value::from(true)),
            ("path", Value::from_debug(&"a\"b")),
        ];
        let (_, json) = lines("m", &fields);
        assert!(json.len() < 250, "{json}");
        let read: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(read["small"], 1e-300);
        assert_eq!(read["none"], "NaN");
        assert_eq!(read["minus"], -5);
        assert_eq!(read["large"], u64::MAX);
        assert_eq!(read["yes"], true);
        assert!(read["path"].is_string());
    }
}
