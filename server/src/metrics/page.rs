//! Writes families and samples in one of the two text formats. Only this module knows the syntax, and it does not know
//! what the numbers mean.

use std::fmt::Write as _;

use watchpost_source::Kind;

use super::format::Format;

/// The units that are declared with `# UNIT` if a family's name ends in one of them.
const UNITS: &[&str] = &[
    "amperes", "bytes", "celsius", "hertz", "joules", "ratio", "seconds", "volts", "watts",
];

/// A family's name in `OpenMetrics`, where `_total` and `_info` belong to the sample's name and not to the family's.
pub(super) fn stem(kind: Kind, name: &str) -> &str {
    let ending = match kind {
        Kind::Counter => "_total",
        Kind::Info => "_info",
        _ => "",
    };
    name.strip_suffix(ending).unwrap_or(name)
}

fn word(kind: Kind, format: Format) -> &'static str {
    match (kind, format) {
        (Kind::Counter, _) => "counter",
        (Kind::Gauge, _) | (Kind::Info, Format::Text) => "gauge",
        (Kind::Histogram, _) => "histogram",
        (Kind::Info, Format::OpenMetrics) => "info",
        (Kind::Unknown, Format::Text) => "untyped",
        (Kind::Unknown, Format::OpenMetrics) => "unknown",
    }
}

/// A page of metrics under construction.
pub(super) struct Page {
    text: String,
    format: Format,
}

impl Page {
    pub(super) fn new(format: Format, capacity: usize) -> Self {
        Self {
            text: String::with_capacity(capacity),
            format,
        }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// Begins a family. Its samples have to follow before the next family begins.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let stem = match self.format {
            Format::Text => name,
            Format::OpenMetrics => stem(kind, name),
        };
        self.head("# HELP ", stem);
        escape(&mut self.text, help, self.format == Format::OpenMetrics);
        self.text.push('\n');
        self.head("# TYPE ", stem);
        self.text.push_str(word(kind, self.format));
        self.text.push('\n');
        if self.format == Format::OpenMetrics
            && kind != Kind::Info
            && let Some((_, unit)) = stem.rsplit_once('_')
            && UNITS.contains(&unit)
        {
            self.head("# UNIT ", stem);
            self.text.push_str(unit);
            self.text.push('\n');
        }
    }

    /// Adds a sample. In both formats it has the same name.
    pub(super) fn sample<'l>(
        &mut self,
        name: &str,
        ending: &str,
        labels: impl IntoIterator<Item = (&'l str, &'l str)>,
        value: f64,
    ) {
        self.text.push_str(name);
        self.text.push_str(ending);
        let mut before = '{';
        for (name, value) in labels {
            self.text.push(before);
            self.text.push_str(name);
            self.text.push_str("=\"");
            escape(&mut self.text, value, true);
            self.text.push('"');
            before = ',';
        }
        self.text.push_str(if before == ',' { "} " } else { " " });
        number(&mut self.text, value);
        self.text.push('\n');
    }

    /// Writes the end marker; without it, an `OpenMetrics` parser treats the page as truncated.
    pub(super) fn end(&mut self) {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
    }

    fn head(&mut self, keyword: &str, name: &str) {
        self.text.push_str(keyword);
        self.text.push_str(name);
        self.text.push(' ');
    }
}

/// A bucket's bound in canonical form. Both formats use it, because the bound is part of the series' identity, which
/// must not depend on the format.
pub(super) fn bound(value: f64) -> String {
    if value == f64::INFINITY {
        return "+Inf".to_owned();
    }
    format!("{value:?}")
}

fn number(text: &mut String, value: f64) {
    // Below this, every integer is exact as a float, and it is shorter without an exponent.
    const MAX_EXACT_INTEGER: f64 = 1e15;
    let written = if value.is_nan() {
        text.push_str("NaN");
        Ok(())
    } else if value.is_infinite() {
        text.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
        Ok(())
    } else if value.fract() == 0.0 && value.abs() < MAX_EXACT_INTEGER {
        write!(text, "{}", value as i64)
    } else {
        // Debug, because Display would write a very small number with hundreds of zeros.
        write!(text, "{value:?}")
    };
    written.expect("writing to a String cannot fail");
}

fn escape(text: &mut String, raw: &str, quotes: bool) {
    let special = |byte: u8| matches!(byte, b'\\' | b'\n') || (quotes && byte == b'"');
    if !raw.bytes().any(special) {
        text.push_str(raw);
        return;
    }
    for letter in raw.chars() {
        match letter {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '"' if quotes => text.push_str("\\\""),
            _ => text.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(format: Format, write: impl FnOnce(&mut Page)) -> String {
        let mut page = Page::new(format, 0);
        write(&mut page);
        page.into_text()
    }

    #[test]
    fn a_counter_s_suffix_belongs_to_the_sample_in_openmetrics_and_to_the_family_in_text() {
        let write = |page: &mut Page| {
            page.family("read_bytes_total", Kind::Counter, "A \"b\" \\ \n c.");
            page.sample("read_bytes_total", "", [("a", "x\\\"\n"), ("b", "")], 1.5);
            page.end();
        };
        assert_eq!(
            page(Format::OpenMetrics, write),
            "# HELP read_bytes A \\\"b\\\" \\\\ \\n c.\n# TYPE read_bytes counter\n# UNIT read_bytes bytes\n\
             read_bytes_total{a=\"x\\\\\\\"\\n\",b=\"\"} 1.5\n# EOF\n"
        );
        assert_eq!(
            page(Format::Text, write),
            "# HELP read_bytes_total A \"b\" \\\\ \\n c.\n# TYPE read_bytes_total counter\n\
             read_bytes_total{a=\"x\\\\\\\"\\n\",b=\"\"} 1.5\n"
        );
    }

    #[test]
    fn infos_are_gauges_in_the_text_format() {
        let write = |page: &mut Page| page.family("node_os_info", Kind::Info, "h");
        assert!(page(Format::Text, write).contains("# TYPE node_os_info gauge\n"));
        assert!(page(Format::OpenMetrics, write).contains("# TYPE node_os info\n"));
    }

    #[test]
    fn numbers_are_short_and_exact() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "0"),
            (42.0, "42"),
            (-3.5, "-3.5"),
            (0.1 + 0.2, "0.30000000000000004"),
            (999_999_999_999_999.0, "999999999999999"),
            (1e300, "1e300"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            let mut text = String::new();
            number(&mut text, value);
            assert_eq!(text, expected);
        }
        assert_eq!(
            [0.005, 1.0, 10.0, f64::INFINITY].map(bound),
            ["0.005", "1.0", "10.0", "+Inf"]
        );
    }
}
