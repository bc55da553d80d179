//! What the monitor's variables say of Azure, in the form of our settings. What Azure is asked is not known here.

use serde_json::{Value, json};

/// What every App Service plan is asked for anyway. Of all that the monitor asked for, these it had by default, and it
/// told the first of them only.
const READY: [&str; 2] = ["MemoryPercentage", "DiskQueueLength"];

/// The one resource of a list.
pub(super) fn resources(id: &str) -> Result<Value, String> {
    Ok(json!([{ "id": id.trim() }]))
}

/// The metrics of a list of names in JSON that are not ready.
pub(super) fn metrics(text: &str) -> Result<Value, String> {
    let names: Vec<String> = serde_json::from_str(text).map_err(|_| {
        "it is no list of names; write it as JSON, such as [\"MemoryPercentage\", \"DiskQueueLength\"]".to_owned()
    })?;
    let mut others: Vec<_> = names.iter().filter(|name| !READY.contains(&name.as_str())).collect();
    others.dedup();
    let metrics = others
        .into_iter()
        .map(|name| json!({ "metric": ours(name), "name": name }));
    Ok(Value::Array(metrics.collect()))
}

/// `CpuPercentage` is `azure_cpu_percentage` here.
fn ours(name: &str) -> String {
    let mut ours = "azure".to_owned();
    let mut before = ' ';
    for letter in name.chars() {
        let begins = before.is_ascii_lowercase() && letter.is_ascii_uppercase();
        let follows_nothing = !before.is_ascii_alphanumeric() && letter.is_ascii_alphanumeric();
        if begins || follows_nothing {
            ours.push('_');
        }
        if letter.is_ascii_alphanumeric() {
            ours.push(letter.to_ascii_lowercase());
        }
        before = letter;
    }
    ours
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_azure_become_metrics_of_ours_and_ready_ones_stay_ready() {
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
