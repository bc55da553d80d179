//! Content negotiation: the format and the encoding of a response, from the headers `Accept` and `Accept-Encoding`.
//! Parts of them that cannot be parsed are ignored.

use actix_web::HttpRequest;
use actix_web::http::header::{
    Accept, AcceptEncoding, ContentEncoding, Encoding as Coding, Header as _, Preference, Quality, QualityItem,
};

use crate::metrics::{Encoding, Format};

/// In the server's order of preference, for clients without one.
const OFFERED: [ContentEncoding; 4] = [
    ContentEncoding::Zstd,
    ContentEncoding::Brotli,
    ContentEncoding::Gzip,
    ContentEncoding::Deflate,
];

/// `OpenMetrics` only if the client names it and prefers it to text; text for everyone else, because an error would
/// help no client.
pub fn format(request: &HttpRequest) -> Format {
    let accept = Types::of(request);
    match accept.openmetrics() > accept.text() {
        true => Format::OpenMetrics,
        false => Format::Text,
    }
}

/// Whether the client names JSON and prefers it to any text. On equal weights, the client gets the Prometheus format.
pub fn prefers_json(request: &HttpRequest) -> bool {
    let accept = Types::of(request);
    let text = accept.text().max(accept.weight("application/openmetrics-text"));
    accept.weight("application/json") > text
}

/// Whether the client names HTML, and does not prefer JSON: browsers name it, and programs do not.
pub fn prefers_html(request: &HttpRequest) -> bool {
    let accept = Types::of(request);
    let html = accept.weight("text/html").max(accept.weight("application/xhtml+xml"));
    html > Quality::ZERO && html >= accept.weight("application/json")
}

/// Whether the client accepts gzip, even if it prefers another encoding.
pub fn accepts_gzip(request: &HttpRequest) -> bool {
    Codings::of(request).gzip() > Quality::ZERO
}

/// The encoding of metrics that the client prefers; of equally preferred ones, the cheapest.
pub fn encoding(request: &HttpRequest) -> Encoding {
    let accept = Codings::of(request);
    let (zstd, gzip) = (accept.weight(ContentEncoding::Zstd), accept.gzip());
    // Identity is acceptable unless the header excludes it, but any listed encoding is preferred.
    let identity = accept.named(&Coding::identity()).unwrap_or(Quality::ZERO);
    if zstd > Quality::ZERO && zstd >= gzip.max(identity) {
        Encoding::Zstd
    } else if gzip > Quality::ZERO && gzip >= identity {
        Encoding::Gzip
    } else {
        Encoding::Identity
    }
}

/// The encoding that the client prefers among those that the server can apply to any response.
pub fn content_encoding(request: &HttpRequest) -> ContentEncoding {
    let accept = Codings::of(request);
    let candidates = OFFERED.map(|coding| (accept.weight(coding), coding)).into_iter();
    // Of equally preferred encodings the first wins; `max_by` would take the last.
    let best = candidates.reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.filter(|(weight, _)| *weight > Quality::ZERO)
        .map_or(ContentEncoding::Identity, |(_, coding)| coding)
}

struct Types(Accept);

impl Types {
    fn of(request: &HttpRequest) -> Self {
        Self(Accept::parse(request).unwrap_or(Accept(Vec::new())))
    }

    fn named(&self, name: &str) -> Option<Quality> {
        let named = self.0.iter().filter(|range| range.item.essence_str() == name);
        named.map(|range| range.quality).max()
    }

    fn weight(&self, name: &str) -> Quality {
        self.named(name).unwrap_or(Quality::ZERO)
    }

    /// The most specific range that covers text decides, whatever wider ranges say.
    fn text(&self) -> Quality {
        let mut ranges = ["text/plain", "text/*", "*/*"].iter();
        ranges.find_map(|name| self.named(name)).unwrap_or(Quality::ZERO)
    }

    /// The weight of the version that the server writes.
    fn openmetrics(&self) -> Quality {
        let ranges = self.0.iter().filter(|range| {
            let version = range.item.get_param("version");
            range.item.essence_str() == "application/openmetrics-text"
                && version.is_none_or(|version| version == "1.0.0")
        });
        ranges.map(|range| range.quality).max().unwrap_or(Quality::ZERO)
    }
}

struct Codings(AcceptEncoding);

impl Codings {
    fn of(request: &HttpRequest) -> Self {
        Self(AcceptEncoding::parse(request).unwrap_or(AcceptEncoding(Vec::new())))
    }

    fn named(&self, coding: &Coding) -> Option<Quality> {
        let is_named = |item: &&QualityItem<Preference<Coding>>| match (&item.item, coding) {
            (Preference::Specific(Coding::Unknown(item)), Coding::Unknown(name)) => item.eq_ignore_ascii_case(name),
            (item, coding) => item.item() == Some(coding),
        };
        self.0.iter().filter(is_named).map(|item| item.quality).max()
    }

    fn others(&self) -> Quality {
        let others = self.0.iter().filter(|item| item.item == Preference::Any);
        others.map(|item| item.quality).max().unwrap_or(Quality::ZERO)
    }

    fn weight(&self, coding: ContentEncoding) -> Quality {
        self.named(&Coding::Known(coding)).unwrap_or_else(|| self.others())
    }

    /// By either of its two names.
    fn gzip(&self) -> Quality {
        let old = self.named(&Coding::Unknown("x-gzip".to_owned()));
        let named = self.named(&Coding::gzip()).max(old);
        named.unwrap_or_else(|| self.others())
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{ACCEPT, ACCEPT_ENCODING, HeaderName};
    use actix_web::test::TestRequest;

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

    fn request_with(name: HeaderName, value: Option<&str>) -> HttpRequest {
        let request = TestRequest::default();
        match value {
            Some(value) => request.insert_header((name, value)).to_http_request(),
            None => request.to_http_request(),
        }
    }

    fn accepting(value: Option<&str>) -> HttpRequest {
        request_with(ACCEPT, value)
    }

    fn encoded(value: Option<&str>) -> HttpRequest {
        request_with(ACCEPT_ENCODING, value)
    }

    #[test]
    fn openmetrics_is_for_clients_that_prefer_it() {
        for accept in [
            PROMETHEUS_2,
            PROMETHEUS_3,
            "application/openmetrics-text",
            "Application/OpenMetrics-Text; Version=\"1.0.0\"; charset=utf-8",
            "text/plain;q=0.1, application/openmetrics-text;q=0.5, */*",
        ] {
            assert_eq!(format(&accepting(Some(accept))), Format::OpenMetrics, "{accept}");
        }
    }

    #[test]
    fn other_clients_get_text() {
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
            ";;,=,q=",
        ] {
            assert_eq!(format(&accepting(Some(accept))), Format::Text, "{accept}");
        }
        assert_eq!(format(&accepting(None)), Format::Text);
    }

    #[test]
    fn json_is_for_clients_that_prefer_it_to_text() {
        for accept in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/json, */*;q=0.8",
            "application/json;q=0.5, text/plain;q=0.4",
            "text/plain;q=0.2, application/json;q=0.5, */*",
        ] {
            assert!(prefers_json(&accepting(Some(accept))), "{accept}");
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
            assert!(!prefers_json(&accepting(Some(accept))), "{accept}");
        }
        assert!(!prefers_json(&accepting(None)));
    }

    #[test]
    fn html_is_for_browsers() {
        const CHROMIUM: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";
        for accept in [FIREFOX, CHROMIUM, "text/html", "application/json;q=0.5, text/html"] {
            assert!(prefers_html(&accepting(Some(accept))), "{accept}");
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
            assert!(!prefers_html(&accepting(Some(accept))), "{accept}");
        }
        assert!(!prefers_html(&accepting(None)));
    }

    #[test]
    fn gzip_is_for_clients_that_accept_it() {
        for accept in [
            "gzip",
            "gzip, deflate, br, zstd",
            "*",
            "identity, *;q=0.1",
            "br, x-gzip;q=0.2",
        ] {
            assert!(accepts_gzip(&encoded(Some(accept))), "{accept}");
        }
        for accept in ["", "identity", "br", "gzip;q=0", "*, gzip;q=0", "*;q=0"] {
            assert!(!accepts_gzip(&encoded(Some(accept))), "{accept}");
        }
        assert!(!accepts_gzip(&encoded(None)));
    }

    #[test]
    fn the_preferred_encoding_is_used() {
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
            assert_eq!(encoding(&encoded(Some(accept))), expected, "{accept}");
        }
        assert_eq!(encoding(&encoded(None)), Encoding::Identity);
    }

    #[test]
    fn any_response_is_compressed_in_the_preferred_encoding() {
        for (accept, expected) in [
            ("gzip", ContentEncoding::Gzip),
            ("gzip, deflate, br, zstd", ContentEncoding::Zstd),
            ("gzip, deflate, br", ContentEncoding::Brotli),
            ("br;q=0.5, deflate", ContentEncoding::Deflate),
            ("zstd;q=0, *", ContentEncoding::Brotli),
            ("*;q=0", ContentEncoding::Identity),
            ("identity", ContentEncoding::Identity),
            ("", ContentEncoding::Identity),
        ] {
            assert_eq!(content_encoding(&encoded(Some(accept))), expected, "{accept}");
        }
        assert_eq!(content_encoding(&encoded(None)), ContentEncoding::Identity);
    }

    #[test]
    fn several_headers_are_read_as_one() {
        let request = TestRequest::default()
            .append_header((ACCEPT, "application/json"))
            .append_header((ACCEPT, "text/plain;q=0.5"))
            .to_http_request();
        assert!(prefers_json(&request));
    }
}
