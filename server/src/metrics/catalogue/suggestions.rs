//! The known names that are most similar to an unknown one.

/// The maximum number of suggestions: more are not read.
const MAX_SUGGESTIONS: usize = 3;

/// Shorter words are part of too many names.
const MIN_SHARED_CHARS: usize = 3;

/// The known names closest to this one, the best first: those of which at most a third of the letters differ, then those
/// that contain it or a word of it.
pub fn closest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Vec<&'n str> {
    let name = name.trim_end_matches('*').to_ascii_lowercase();
    let mut ranked: Vec<_> = known
        .into_iter()
        .filter_map(|known| Some((rank(&name, known)?, known)))
        .collect();
    ranked.sort_unstable();
    ranked.dedup();
    ranked
        .into_iter()
        .take(MAX_SUGGESTIONS)
        .map(|(_, known)| known)
        .collect()
}

/// The lower, the more similar; `None` if the names have nothing in common.
fn rank(name: &str, known: &str) -> Option<(u8, usize)> {
    let text = known.trim_end_matches('*').to_ascii_lowercase();
    let distance = strsim::damerau_levenshtein(name, &text);
    let max_distance = name.len().max(text.len()) / 3;
    if distance <= max_distance.max(1) {
        return Some((0, distance));
    }
    if name.len() >= MIN_SHARED_CHARS && text.contains(name) {
        return Some((1, text.len()));
    }
    let words = |text: &str| text.split('_').map(str::to_owned).collect::<Vec<_>>();
    let shared = words(&text);
    let matches = words(name)
        .iter()
        .filter(|word| word.len() >= MIN_SHARED_CHARS && shared.contains(word))
        .count();
    // More shared words are better, and then the shorter name.
    (matches > 0).then(|| (2, text.len() + 100 * (10_usize.saturating_sub(matches))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 7] = [
        "memory",
        "disk",
        "disk_busy",
        "node_memory_*",
        "cpu",
        "node_load1",
        "active_chunks",
    ];

    #[test]
    fn similar_names_are_suggested_the_best_first() {
        for (name, expected) in [
            ("memry", vec!["memory"]),
            ("disks", vec!["disk"]),
            ("Memory", vec!["memory", "node_memory_*"]),
            ("cpu_percent", vec!["cpu"]),
            ("chunks_active", vec!["active_chunks"]),
            ("mem", vec!["memory", "node_memory_*"]),
            ("nodeload1", vec!["node_load1"]),
            ("frobnicate", vec![]),
        ] {
            assert_eq!(closest(name, KNOWN), expected, "{name}");
        }
    }

    #[test]
    fn there_are_at_most_three_suggestions() {
        let known: Vec<String> = (0..50).map(|number| format!("disk_{number}")).collect();
        assert_eq!(closest("disk", known.iter().map(String::as_str)).len(), MAX_SUGGESTIONS);
    }
}
