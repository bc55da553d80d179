//! What a client wants to read, from the headers that it sent. It knows no request and no answer, only their
//! headers' texts.

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Prometheus' text format, version 0.0.4, which everyone reads.
    Text,
    /// `OpenMetrics`, version 1.0.0, for those who prefer it.
    OpenMetrics,
}

impl Format {
    /// What the answer's `Content-Type` says. Prometheus 3 refuses an answer without it.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// How the answer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// By gzip, which Prometheus asks for.
    Gzip,
    /// By zstd.
    Zstd,
}

impl Encoding {
    /// What the answer's `Content-Encoding` says; an answer that is not compressed has none.
    pub const fn content_encoding(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }
}

/// `OpenMetrics` only for who names it and prefers it to text; text for everyone else, for whom refusing would
/// help nobody.
pub fn format(accept: Option<&str>) -> Format {
    let mut openmetrics = 0;
    // The most specific range that covers text decides, whatever wider ones say.
    let mut text = (0, 0);
    for range in accept.unwrap_or_default().split(',').map(Range::parse) {
        let specific = match range.name.as_str() {
            "application/openmetrics-text" => {
                if matches!(range.version, None | Some("1.0.0")) {
                    openmetrics = openmetrics.max(range.weight);
                }
                continue;
            }
            "text/plain" => 3,
            "text/*" => 2,
            "*/*" => 1,
            _ => continue,
        };
        text = text.max((specific, range.weight));
    }
    if openmetrics > text.1 {
        Format::OpenMetrics
    } else {
        Format::Text
    }
}

/// Whether it names JSON, and likes it better than any text. Who likes both equally gets what Prometheus reads.
pub fn prefers_json(accept: Option<&str>) -> bool {
    let ranges: Vec<Range<'_>> = accept.unwrap_or_default().split(',').map(Range::parse).collect();
    let weight = |name: &str| {
        let weights = ranges.iter().filter(|range| range.name == name);
        weights.map(|range| range.weight).max()
    };
    let text = weight("text/plain")
        .or_else(|| weight("text/*"))
        .or_else(|| weight("*/*"));
    let text = text.max(weight("application/openmetrics-text")).unwrap_or(0);
    weight("application/json").is_some_and(|json| json > text)
}

/// Whether it names HTML, and likes it at least as well as JSON: browsers do, and programs do not name it.
pub fn prefers_html(accept: Option<&str>) -> bool {
    let ranges: Vec<Range<'_>> = accept.unwrap_or_default().split(',').map(Range::parse).collect();
    let weight = |name: &str| {
        let weights = ranges.iter().filter(|range| range.name == name);
        weights.map(|range| range.weight).max().unwrap_or(0)
    };
    let html = weight("text/html").max(weight("application/xhtml+xml"));
    html > 0 && html >= weight("application/json")
}

/// Whether it takes what is packed by gzip, whatever else it would like better.
pub fn takes_gzip(accept_encoding: Option<&str>) -> bool {
    let ranges = accept_encoding.unwrap_or_default().split(',').map(Range::parse);
    let (named, others): (Vec<_>, Vec<_>) = ranges
        .filter(|range| matches!(range.name.as_str(), "gzip" | "x-gzip" | "*"))
        .partition(|range| range.name != "*");
    let decides = if named.is_empty() { others } else { named };
    decides.iter().any(|range| range.weight > 0)
}

/// The coding that the client likes best; of those that it likes equally, the one that is cheapest for both.
pub fn encoding(accept_encoding: Option<&str>) -> Encoding {
    let ranges: Vec<Range<'_>> = accept_encoding
        .unwrap_or_default()
        .split(',')
        .map(Range::parse)
        .collect();
    let named = |name: &str| {
        let weights = ranges.iter().filter(|range| range.name == name);
        weights.map(|range| range.weight).max()
    };
    let others = named("*");
    let zstd = named("zstd").or(others).unwrap_or(0);
    let gzip = named("gzip").max(named("x-gzip")).or(others).unwrap_or(0);
    // An answer as it is is welcome where nothing is said, but less than anything that was asked for.
    let identity = named("identity").unwrap_or(0);
    if zstd > 0 && zstd >= gzip.max(identity) {
        Encoding::Zstd
    } else if gzip > 0 && gzip >= identity {
        Encoding::Gzip
    } else {
        Encoding::Identity
    }
}

/// One element of such a header.
struct Range<'h> {
    name: String,
    version: Option<&'h str>,
    /// In thousandths, as fine as HTTP has it.
    weight: u16,
}

impl<'h> Range<'h> {
    fn parse(text: &'h str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let mut range = Self {
            name: parts.next().unwrap_or_default().to_ascii_lowercase(),
            version: None,
            weight: 1000,
        };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let (name, value) = (name.trim(), value.trim().trim_matches('"'));
            if name.eq_ignore_ascii_case("q") {
                range.weight = weight(value);
            } else if name.eq_ignore_ascii_case("version") {
                range.version = Some(value);
            }
        }
        range
    }
}

/// A weight that cannot be read is none: what follows it was hardly asked for.
fn weight(text: &str) -> u16 {
    match text.parse::<f32>() {
        Ok(weight) if (0.0..=1.0).contains(&weight) => (weight * 1000.0).round() as u16,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMETHEUS_2: &str = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;\
                                q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    const PROMETHEUS_3: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                                application/openmetrics-text;version=0.0.1;q=0.4,\
                                text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
                                text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
    const PROMETHEUS_3_TEXT_FIRST: &str = "text/plain;version=0.0.4;q=0.5,\
                                           application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                                           */*;q=0.1";
    const FIREFOX: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

    #[test]
    fn openmetrics_is_for_who_prefers_it() {
        for accept in [
            PROMETHEUS_2,
            PROMETHEUS_3,
            "application/openmetrics-text",
            "Application/OpenMetrics-Text; Version=\"1.0.0\"; charset=utf-8",
            "text/plain;q=0.1, application/openmetrics-text;q=0.5, */*",
        ] {
            assert_eq!(format(Some(accept)), Format::OpenMetrics, "{accept}");
        }
    }

    #[test]
    fn everyone_else_reads_text() {
        for accept in [
            PROMETHEUS_3_TEXT_FIRST,
            FIREFOX,
            "*/*",
            "",
            "application/json",
            "application/openmetrics-text;version=0.0.1",
            "application/openmetrics-text;version=2.0.0",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=nan",
            "application/openmetrics-text,text/plain",
            "application/openmetrics-text;q=0.5,text/*;q=0.6",
            ";;,=,q=,\u{1}",
        ] {
            assert_eq!(format(Some(accept)), Format::Text, "{accept}");
        }
        assert_eq!(format(None), Format::Text);
    }

    #[test]
    fn json_is_for_who_prefers_it_to_text() {
        for accept in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/json, */*;q=0.8",
            "application/json;q=0.5, text/plain;q=0.4",
            "text/plain;q=0.2, application/json;q=0.5, */*",
        ] {
            assert!(prefers_json(Some(accept)), "{accept}");
        }
        for accept in [
            PROMETHEUS_2,
            PROMETHEUS_3,
            FIREFOX,
            "*/*",
            "",
            "application/json, text/plain, */*",
            "application/json;q=0",
            "application/json;q=0.5, application/openmetrics-text",
            "application/json;q=0.5, text/*",
            "text/json",
        ] {
            assert!(!prefers_json(Some(accept)), "{accept}");
        }
        assert!(!prefers_json(None));
    }

    #[test]
    fn a_page_is_for_browsers() {
        const CHROMIUM: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";
        for accept in [FIREFOX, CHROMIUM, "text/html", "application/json;q=0.5, text/html"] {
            assert!(prefers_html(Some(accept)), "{accept}");
        }
        for accept in [
            "*/*",
            "",
            "application/json",
            "text/*",
            "text/html;q=0",
            "application/json, text/html;q=0.9",
            PROMETHEUS_3,
        ] {
            assert!(!prefers_html(Some(accept)), "{accept}");
        }
        assert!(!prefers_html(None));
    }

    #[test]
    fn what_is_packed_is_for_who_takes_it() {
        for accept in [
            "gzip",
            "gzip, deflate, br, zstd",
            "*",
            "identity, *;q=0.1",
            "br, x-gzip;q=0.2",
        ] {
            assert!(takes_gzip(Some(accept)), "{accept}");
        }
        for accept in ["", "identity", "br", "gzip;q=0", "*, gzip;q=0", "*;q=0"] {
            assert!(!takes_gzip(Some(accept)), "{accept}");
        }
        assert!(!takes_gzip(None));
    }

    #[test]
    fn the_coding_is_the_one_that_is_liked_best() {
        for (accept, expected) in [
            ("gzip", Encoding::Gzip),
            ("GZip", Encoding::Gzip),
            ("x-gzip", Encoding::Gzip),
            ("zstd,gzip", Encoding::Zstd),
            ("gzip, deflate, br, zstd", Encoding::Zstd),
            ("zstd;q=0.5, gzip;q=0.8", Encoding::Gzip),
            ("zstd;q=0, *", Encoding::Gzip),
            ("*", Encoding::Zstd),
            ("*;q=0", Encoding::Identity),
            ("gzip;q=0", Encoding::Identity),
            ("gzip;q=2", Encoding::Identity),
            ("gzip;q=0.5, identity", Encoding::Identity),
            ("gzip;q=0.001", Encoding::Gzip),
            ("br", Encoding::Identity),
            ("identity", Encoding::Identity),
            ("", Encoding::Identity),
        ] {
            assert_eq!(encoding(Some(accept)), expected, "{accept}");
        }
        assert_eq!(encoding(None), Encoding::Identity);
    }
}
