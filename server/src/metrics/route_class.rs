//! Classes of routes, methods and statuses: the labels of the request metrics. There are few of them, so the number of
//! series does not depend on the number of paths.

use crate::string_enum::string_enum;

string_enum! {
    /// A group of routes with similar response times. The route table assigns each operation its class.
    pub enum RouteClass {
        /// The index, the client's identity and the documentation of the API.
        Service = "service",
        /// Health endpoints.
        Health = "health",
        /// The metrics page for Prometheus.
        Metrics = "metrics",
        /// The latest measurements and findings.
        Machine = "machine",
        /// Recorded measurements, reports and decisions.
        History = "history",
        /// Work chunks.
        Chunks = "chunks",
        /// Reading rules.
        RulesRead = "rules_read",
        /// Changes of rules, uploads and trials.
        RulesChange = "rules_change",
        /// The interface of the WM resource monitor.
        Wm = "wm",
        /// The interface of PixCrawler's resource monitor.
        PixCrawler = "pixcrawler",
        /// Requests that reach no operation: unknown paths, methods that are not allowed, rejected clients.
        Other = "other",
    }
}

/// `read` for methods that change nothing, `write` for all others.
pub(super) fn method_class(method: &str) -> &'static str {
    match method {
        "GET" | "HEAD" | "OPTIONS" | "TRACE" => "read",
        _ => "write",
    }
}

/// `2xx` for 200. A status that HTTP does not define belongs to the nearest class.
pub(super) fn status_class(status: u16) -> &'static str {
    match status {
        0..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        500.. => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_and_statuses_have_few_classes() {
        for (method, class) in [("GET", "read"), ("HEAD", "read"), ("PUT", "write"), ("BREW", "write")] {
            assert_eq!(method_class(method), class);
        }
        for (status, class) in [
            (0, "1xx"),
            (101, "1xx"),
            (204, "2xx"),
            (304, "3xx"),
            (499, "4xx"),
            (u16::MAX, "5xx"),
        ] {
            assert_eq!(status_class(status), class);
        }
    }
}
