//! Converts the monitor's Azure variables to Watchpost's settings.

use serde_json::{Value, json};

/// The built-in metrics of App Service plans. They were the monitor's defaults, of which it reported only the
/// first.
const BUILT_IN: [&str; 2] = ["MemoryPercentage", "DiskQueueLength"];

/// A list with this resource.
pub(super) fn resources(id: &str) -> Result<Value, String> {
    Ok(json!([{ "id": id.trim() }]))
}

/// Converts a JSON list of metric names; built-in metrics are skipped.
pub(super) fn metrics(text: &str) -> Result<Value, String> {
    let names: Vec<String> = serde_json::from_str(text).map_err(|_| {
        "not a list of names; write it as JSON, such as [\"MemoryPercentage\", \"DiskQueueLength\"]".to_owned()
    })?;
    let mut others: Vec<_> = names.iter().filter(|name| !BUILT_IN.contains(&name.as_str())).collect();
    others.dedup();
    let metrics = others
        .into_iter()
        .map(|name| json!({ "metric": metric_name(name), "name": name }));
    Ok(Value::Array(metrics.collect()))
}

/// The metric name for a name of Azure: `CpuPercentage` becomes `azure_cpu_percentage`.
fn metric_name(name: &str) -> String {
    let mut metric = "azure".to_owned();
    let mut before = ' ';
    for letter in name.chars() {
        let begins = before.is_ascii_lowercase() && letter.is_ascii_uppercase();
        let follows_nothing = !before.is_ascii_alphanumeric() && letter.is_ascii_alphanumeric();
        if begins || follows_nothing {
            metric.push('_');
        }
        if letter.is_ascii_alphanumeric() {
            metric.push(letter.to_ascii_lowercase());
        }
        before = letter;
    }
    metric
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn azure_names_become_metrics_and_built_in_metrics_are_skipped() {
        let check = |text: &str, expected: Value| assert_eq!(metrics(text), Ok(expected), "{text}");
        check(r#"["MemoryPercentage", "DiskQueueLength"]"#, json!([]));
        check(
            r#"["MemoryPercentage", "CpuPercentage", "Percentage CPU", "Http5xx"]"#,
            json!([
                {"metric": "azure_cpu_percentage", "name": "CpuPercentage"},
                {"metric": "azure_percentage_cpu", "name": "Percentage CPU"},
                {"metric": "azure_http5xx", "name": "Http5xx"},
            ]),
        );
        for broken in ["MemoryPercentage", "{}", "[1]"] {
            let refused = metrics(broken).expect_err("refused");
            assert!(refused.contains("write it as JSON"), "{refused}");
        }
    }
}
