//! Converts paths from the framework's syntax to that of OpenAPI. Pure.

/// A path in OpenAPI syntax.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// The path without the patterns of its parameters.
    pub(super) plain: String,
    /// The names of its parameters.
    pub(super) names: Vec<String>,
}

impl Path {
    /// Parses a path of the table. A pattern may contain braces.
    pub(super) fn of(route: &str) -> Self {
        let (mut plain, mut names) = (String::new(), Vec::new());
        let (mut depth, mut in_pattern) = (0, false);
        let mut name = String::new();
        for letter in route.chars() {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                ':' if depth == 1 => in_pattern = true,
                letter if depth == 1 && !in_pattern => name.push(letter),
                _ => {}
            }
            let of_pattern = in_pattern && depth > 0;
            if !of_pattern {
                plain.push(letter);
            }
            if depth == 0 {
                in_pattern = false;
                names.extend(Some(std::mem::take(&mut name)).filter(|name| !name.is_empty()));
            }
        }
        Self { plain, names }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_loses_only_its_patterns() {
        let check = |route, plain: &str, names: &[&str]| {
            let names = names.iter().map(ToString::to_string).collect();
            let plain = plain.to_owned();
            assert_eq!(Path::of(route), Path { plain, names });
        };
        check("/", "/", &[]);
        check("/rules/{name}", "/rules/{name}", &["name"]);
        check(
            "/rules/{name}/versions/{digest:[0-9a-f]{64}}.wasm",
            "/rules/{name}/versions/{digest}.wasm",
            &["name", "digest"],
        );
    }
}
