//! What the host takes for the name of a metric or a label, so that a rule can refuse another one where an operator
//! wrote it. A name that is not refused there is a fault of the rule later.

/// The most metrics that a plan may name.
pub const MAX_METRICS: usize = 1000;

/// All labels of a subject together.
pub const LABELS_BYTES: usize = 1024;

const NAME_BYTES: usize = 200;

/// What is wrong with a metric's name, or with a pattern for metrics.
pub fn mistake_in_metric(pattern: &str) -> Option<String> {
    if pattern.is_empty() {
        return Some("name a metric".to_owned());
    }
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'*');
    (!is_name(pattern, legal)).then(|| {
        format!(
            "{pattern:?} cannot name a metric: use letters, digits, _ and :, no digit first, * for anything, at most \
             {NAME_BYTES} bytes"
        )
    })
}

/// What is wrong with a label's name.
pub fn mistake_in_label(name: &str) -> Option<String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (!is_name(name, legal)).then(|| {
        format!("{name:?} cannot name a label: use letters, digits and _, no digit first, at most {NAME_BYTES} bytes")
    })
}

fn is_name(name: &str, legal: impl Fn(u8) -> bool) -> bool {
    let begins_well = name.bytes().next().is_some_and(|first| !first.is_ascii_digit());
    begins_well && name.len() <= NAME_BYTES && name.bytes().all(legal)
}
