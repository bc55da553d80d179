//! Runs a document as a reader would, its commands in one shell and its Python as one program, and compares the output
//! with that of the document, where `…` matches any text.

use std::path::Path;
use std::process::Command;

/// A line that separates the output of steps.
const END: &str = "--- and now the next one ---";

/// A command, and its output in the document.
struct Step {
    command: String,
    shown: String,
}

/// The steps of a document.
#[derive(Default)]
struct Steps {
    /// The `sh` blocks, which have no output, and the commands of `console` blocks.
    shell: Vec<Step>,
    /// The `python` blocks. The output of one is the `text` block after it.
    python: Vec<Step>,
}

/// Runs a document in a folder without changes; the environment has what differs from a reader's host. Returns the
/// differences from the output in the document.
pub fn differences(document: &str, folder: &Path, environment: &[(&str, String)]) -> Vec<String> {
    let steps = read(document);
    assert!(!steps.shell.is_empty(), "the document shows no command");
    let mut different = Vec::new();
    let shell = ("bash", "set -u", format!("echo '{END}'"));
    let python = ("python3", "", format!("print({END:?}, flush=True)"));
    for ((program, before, between), steps) in [(shell, steps.shell), (python, steps.python)] {
        let mut script = format!("{before}\n");
        for step in &steps {
            script.push_str(&format!("{}\n{between}\n", step.command));
        }
        let mut command = Command::new(program);
        command.arg("-c").arg(&script).current_dir(folder);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        different.extend(run(&mut command, &steps));
    }
    different
}

fn run(command: &mut Command, steps: &[Step]) -> Vec<String> {
    let output = command.output().expect("it is installed");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let wrong = String::from_utf8_lossy(&output.stderr).into_owned();
    let answers: Vec<&str> = printed.split(&format!("{END}\n")).collect();
    let mut different = Vec::new();
    for (step, answer) in steps.iter().zip(&answers) {
        if !matches(step.shown.trim(), answer.trim()) {
            different.push(format!(
                "$ {}\nshown: {}\nsaid:  {}",
                step.command,
                step.shown.trim(),
                answer.trim()
            ));
        }
    }
    if answers.len() != steps.len() + 1 || !wrong.is_empty() {
        different.push(format!(
            "{} commands, {} answers; stderr: {wrong}",
            steps.len(),
            answers.len() - 1
        ));
    }
    different
}

fn read(document: &str) -> Steps {
    let mut steps = Steps::default();
    let step = |command: &str| Step {
        command: command.to_owned(),
        shown: String::new(),
    };
    // Whether the block before was Python.
    let (mut block, mut follows_python) = (None, false);
    for line in document.lines() {
        match (line.strip_prefix("```"), block) {
            (Some(kind), None) => {
                block = Some(kind);
                match kind {
                    "sh" => steps.shell.push(step("")),
                    "python" => steps.python.push(step("")),
                    _ => {}
                }
            }
            (Some(_), Some(kind)) => {
                follows_python = kind == "python";
                block = None;
            }
            (None, Some("sh")) => add(&mut steps.shell, |step| &mut step.command, line),
            (None, Some("python")) => add(&mut steps.python, |step| &mut step.command, line),
            (None, Some("text")) if follows_python => add(&mut steps.python, |step| &mut step.shown, line),
            (None, Some("console")) => match line.strip_prefix("$ ") {
                Some(command) => steps.shell.push(step(command)),
                None => add(&mut steps.shell, |step| &mut step.shown, line),
            },
            _ => {}
        }
    }
    steps
}

/// Adds a line to the last step.
fn add(steps: &mut [Step], part: impl Fn(&mut Step) -> &mut String, line: &str) {
    let step = steps.last_mut().expect("an answer stands after its command");
    part(step).push_str(&format!("{line}\n"));
}

/// Whether an output matches the document, where `…` matches any text.
fn matches(shown: &str, printed: &str) -> bool {
    let mut parts = shown.split('…');
    let Some(mut rest) = printed.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_a_document_are_read_in_their_order() {
        let page = "```sh\na=1\n```\n```console\n$ echo $a\n1\n```\n```shell\nrm -r /\n```\n\
                    ```python\nprint(2)\nprint(3)\n```\n\n```text\n2\n3\n```\n```text\nno answer\n```\n";
        let pairs = |steps: &[Step]| -> Vec<(String, String)> {
            let pair = |step: &Step| (step.command.trim().to_owned(), step.shown.trim().to_owned());
            steps.iter().map(pair).collect()
        };
        let pair = |command: &str, shown: &str| (command.to_owned(), shown.to_owned());
        let steps = read(page);
        assert_eq!(pairs(&steps.shell), [pair("a=1", ""), pair("echo $a", "1")]);
        assert_eq!(pairs(&steps.python), [pair("print(2)\nprint(3)", "2\n3")]);
    }

    #[test]
    fn an_ellipsis_matches_any_text() {
        assert!(matches("{\"a\":…,\"b\":2}", "{\"a\":[1,2],\"b\":2}"));
        assert!(matches("same", "same"));
        assert!(!matches("same", "same and more"));
        assert!(!matches("a…b…c", "a-c"));
        assert!(!matches("a…b", "a-b-c"));
    }
}
