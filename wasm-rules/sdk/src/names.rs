//! Validation of metric and label names by the host's limits, so that a rule can reject an invalid name in its
//! settings. Otherwise the name becomes a fault of the rule when it runs.

/// The maximum number of metrics in a plan.
pub const MAX_METRICS: usize = 1000;

/// The maximum size of all labels of a subject together, in bytes.
pub const LABELS_BYTES: usize = 1024;

const NAME_BYTES: usize = 200;

/// Why a metric name, or a pattern for metric names, is invalid; `None` for a valid one.
pub fn metric_name_error(pattern: &str) -> Option<String> {
    if pattern.is_empty() {
        return Some("name a metric".to_owned());
    }
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'*');
    (!is_name(pattern, legal)).then(|| {
        format!(
            "{pattern:?} is not a valid metric name: use letters, digits, _ and :, no digit first, * for anything, at most \
             {NAME_BYTES} bytes"
        )
    })
}

/// Why a label name is invalid; `None` for a valid one.
pub fn label_name_error(name: &str) -> Option<String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (!is_name(name, legal)).then(|| {
        format!(
            "{name:?} is not a valid label name: use letters, digits and _, no digit first, at most {NAME_BYTES} bytes"
        )
    })
}

fn is_name(name: &str, legal: impl Fn(u8) -> bool) -> bool {
    let starts_valid = name.bytes().next().is_some_and(|first| !first.is_ascii_digit());
    starts_valid && name.len() <= NAME_BYTES && name.bytes().all(legal)
}
