//! Runs the commands of a document as a reader would, one after the other in one shell, and holds what comes back
//! against what the document shows. There, `…` stands for anything.

use std::path::Path;
use std::process::Command;

/// A line that no command prints by itself.
const END: &str = "--- and now the next command ---";

/// One command and what the document shows of its answer.
struct Step {
    command: String,
    shown: String,
}

/// Runs a document in a folder. What is set up by its `sh` blocks is changed by `prepare`, which is shell too. What is
/// otherwise than shown comes back.
pub fn differences(document: &str, folder: &Path, prepare: &str) -> Vec<String> {
    let (set_up, steps) = read(document);
    let mut script = format!("set -u\n{set_up}\n{prepare}\n");
    for step in &steps {
        script.push_str(&format!("{}\necho '{END}'\n", step.command));
    }
    let output = Command::new("bash")
        .arg("-c")
        .arg(&script)
        .current_dir(folder)
        .output()
        .expect("bash is there");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let wrong = String::from_utf8_lossy(&output.stderr).into_owned();
    let answers: Vec<&str> = said.split(&format!("{END}\n")).collect();
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

/// What is set up in `sh` blocks, and the steps of `console` blocks.
fn read(document: &str) -> (String, Vec<Step>) {
    let (mut set_up, mut steps) = (String::new(), Vec::<Step>::new());
    let mut block = None;
    for line in document.lines() {
        match (line.strip_prefix("```"), block) {
            (Some(kind), None) => block = Some(kind),
            (Some(_), Some(_)) => block = None,
            (None, Some("sh")) => set_up.push_str(&format!("{line}\n")),
            (None, Some("console")) => match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => steps.push(Step {
                    command: command.to_owned(),
                    shown: String::new(),
                }),
                (None, Some(step)) => step.shown.push_str(&format!("{line}\n")),
                (None, None) => panic!("an answer without a command: {line}"),
            },
            _ => {}
        }
    }
    assert!(!steps.is_empty(), "the document shows no command");
    (set_up, steps)
}

/// Whether a text is as shown, where `…` is anything.
fn matches(shown: &str, said: &str) -> bool {
    let mut parts = shown.split('…');
    let Some(mut rest) = said.strip_prefix(parts.next().unwrap_or_default()) else {
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
    fn dots_stand_for_anything_and_the_rest_for_itself() {
        assert!(matches("{\"a\":…,\"b\":2}", "{\"a\":[1,2],\"b\":2}"));
        assert!(matches("same", "same"));
        assert!(!matches("same", "same and more"));
        assert!(!matches("a…b…c", "a-c"));
        assert!(!matches("a…b", "a-b-c"));
    }
}
