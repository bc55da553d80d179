//! Quoting for command lines that a person copies into a shell.

use std::path::Path;

/// Quotes a path for a shell.
pub(super) fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    // Quoting fails only for the zero byte, which no path contains.
    shlex::try_quote(&path).map_or_else(|_| path.clone(), |quoted| quoted.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_as_a_shell_reads_it() {
        assert_eq!(quoted(Path::new("/a/b-1.crt")), "/a/b-1.crt");
        for path in ["/a b/it's", "/a b", "/$HOME/`id`/\"x\"", "/a\\b!"] {
            assert_eq!(shlex::split(&quoted(Path::new(path))), Some(vec![path.to_owned()]));
        }
    }
}
