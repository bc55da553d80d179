//! What stands in a document: the blocks of its sections, for tests that do what a reader would. Nothing is run here.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_those_of_their_section_and_kind() {
        let text = "## a\n```sh\none\n```\n## b\n```toml\ntwo\n```\n```sh\nthree\nfour\n```\n## c\n```sh\nfive\n```\n";
        assert_eq!(blocks(text, "b", "sh"), ["three\nfour\n"]);
        assert_eq!(blocks(text, "b", "toml"), ["two\n"]);
    }
}
