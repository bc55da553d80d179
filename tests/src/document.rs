//! Reads the code blocks of a document, for tests that follow it as a reader would. It runs nothing.

/// A document of the folder `docs`.
pub fn document(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The blocks of this kind (`sh`, `toml`) between a heading of the second level and the next; there is one at least.
pub fn blocks(document: &str, section: &str, kind: &str) -> Vec<String> {
    let lines = document.lines().skip_while(|line| *line != format!("## {section}"));
    let lines = lines.skip(1).take_while(|line| !line.starts_with("## "));
    let (mut blocks, mut open) = (Vec::new(), None::<(bool, String)>);
    for line in lines {
        match (line.strip_prefix("```"), &mut open) {
            (Some(begun), None) => open = Some((begun == kind, String::new())),
            (Some(_), Some((wanted, text))) => {
                blocks.extend(wanted.then(|| std::mem::take(text)));
                open = None;
            }
            (None, Some((_, text))) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(!blocks.is_empty(), "{section} shows no {kind}");
    blocks
}

/// The README.
pub fn readme() -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The commands of the `sh` and `console` blocks in their order. A line that ends in a backslash continues in the next
/// one; the output in a `console` block is left out.
pub fn commands(document: &str) -> Vec<String> {
    let (mut commands, mut block, mut goes_on) = (Vec::<String>::new(), None, false);
    for line in document.lines() {
        if let Some(kind) = line.strip_prefix("```") {
            block = block.is_none().then_some(kind);
            goes_on = false;
            continue;
        }
        let begun = match block {
            Some("sh") => Some(line),
            Some("console") => line.strip_prefix("$ "),
            _ => continue,
        };
        match (begun, commands.last_mut()) {
            (_, Some(last)) if goes_on => {
                last.push('\n');
                last.push_str(line);
            }
            (Some(line), _) if !line.trim().is_empty() => commands.push(line.to_owned()),
            _ => continue,
        }
        goes_on = line.ends_with('\\');
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_those_of_their_section_and_kind() {
        let text = "## a\n```sh\none\n```\n## b\n```toml\ntwo\n```\n```sh\nthree\nfour\n```\n## c\n```sh\nfive\n```\n";
        assert_eq!(blocks(text, "b", "sh"), ["three\nfour\n"]);
        assert_eq!(blocks(text, "b", "toml"), ["two\n"]);
    }

    #[test]
    fn commands_are_whole_and_answers_are_none() {
        let text = "```sh\na\n\nb \\\n  c\n```\n```json\nd\n```\n```console\n$ e \\\n    f\nanswer\n$ g\n```\nh\n";
        assert_eq!(commands(text), ["a", "b \\\n  c", "e \\\n    f", "g"]);
    }
}
