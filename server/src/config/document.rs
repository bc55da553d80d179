//! Tests that docs/CONFIGURATION.md and deploy/watchpost.toml match the declarations: tables and full examples
//! are generated, and every other example has to load.

use std::path::Path;

use serde_json::Value;

use super::declare::{Field, Shape};
use super::setting::{Setting, dotted_on};
use super::{Config, Environment, Sources};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/CONFIGURATION.md");

/// The configuration file that is installed with the service.
const SERVICE_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/watchpost.toml");

#[test]
fn the_document_matches_the_declarations() {
    let document = std::fs::read_to_string(DOCUMENT).expect("the document");
    assert_up_to_date("docs/CONFIGURATION.md", &document, &regenerated(&document));
}

#[test]
fn the_service_file_matches_the_declarations() {
    let file = std::fs::read_to_string(SERVICE_FILE).expect("the file");
    assert_up_to_date("deploy/watchpost.toml", &file, &service_file(&file));
}

/// Removing the comment signs from all settings gives the defaults.
#[test]
fn the_service_file_sets_the_data_directory_and_comments_out_every_default() {
    let file = std::fs::read_to_string(SERVICE_FILE).expect("the file");
    let folder = tempfile::tempdir().expect("a folder");
    let defaults = Config::load(&sources(None, folder.path())).expect("the defaults are right");
    let as_it_is = check(&file, &folder.path().join("as-it-is.toml"), folder.path());
    assert_eq!(as_it_is.differences(&defaults), ["server.data_dir"]);
    let uncommented: String = file
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.is_empty() && !setting.starts_with(' ') => setting,
            _ => line,
        })
        .map(|line| format!("{line}\n"))
        .collect();
    assert!(uncommented.lines().count() > 100 && uncommented != file);
    let checked = check(&uncommented, &folder.path().join("uncommented.toml"), folder.path());
    assert_eq!(checked.differences(&defaults), ["server.data_dir"]);
}

fn assert_up_to_date(name: &str, found: &str, expected: &str) {
    if found == expected {
        return;
    }
    let test = std::env::current_exe().expect("a test has a file");
    let generated = test.with_file_name(Path::new(name).file_name().expect("it has one"));
    std::fs::write(&generated, expected).expect("the folder of the tests is written to");
    panic!(
        "{name} does not match the declarations in server/src/config; update it with\ncp {} {name}",
        generated.display()
    );
}

#[test]
fn every_section_is_in_the_document() {
    let document = std::fs::read_to_string(DOCUMENT).expect("the document");
    for field in Config::fields() {
        assert!(document.contains(&opening(field.name)), "{} has no table", field.name);
    }
}

#[test]
fn every_example_in_the_document_loads() {
    let document = std::fs::read_to_string(DOCUMENT).expect("the document");
    let folder = tempfile::tempdir().expect("a folder");
    let mut found = 0;
    for (language, name) in [("```toml\n", "example.toml"), ("```yaml\n", "example.yaml")] {
        for block in document.split(language).skip(1) {
            let (text, _) = block.split_once("```").expect("a block has an end");
            check(text, &folder.path().join(name), folder.path());
            found += 1;
        }
    }
    assert!(found >= 3, "only {found} examples were found");
}

#[test]
fn the_full_example_is_the_defaults() {
    let folder = tempfile::tempdir().expect("a folder");
    let checked = check(&Config::example(), &folder.path().join("whole.toml"), folder.path());
    let defaults = Config::load(&sources(None, folder.path())).expect("the defaults are right");
    assert_eq!(checked.differences(&defaults), Vec::<String>::new());
}

fn check(text: &str, file: &Path, folder: &Path) -> Config {
    std::fs::write(file, text).expect("written");
    match Config::load(&sources(Some(file), folder)) {
        Ok(config) => config,
        Err(errors) => panic!("{errors}\nin\n{text}"),
    }
}

fn sources(file: Option<&Path>, folder: &Path) -> Sources {
    Sources {
        file: file.map(Path::to_owned),
        environment: Environment::default(),
        working_directory: folder.to_owned(),
        ..Sources::default()
    }
}

/// The document with the generated parts, between the markers, replaced.
fn regenerated(document: &str) -> String {
    let mut text = document.to_owned();
    for field in Config::fields() {
        replace(&mut text, field.name, &table(&field));
    }
    replace(&mut text, "example", &format!("```toml\n{}```\n", Config::example()));
    text
}

/// The file with everything below its introduction regenerated: every setting is commented out, except the data
/// directory of the service.
fn service_file(file: &str) -> String {
    let introduction: String = (file.split_inclusive('\n').take_while(|line| line.starts_with('#'))).collect();
    let mut text = format!("{introduction}\n");
    for line in Config::example().lines() {
        let is_kept = line.is_empty() || line.starts_with("# ") || (line.starts_with('[') && !line.starts_with("[["));
        let line = match line {
            "data_dir = \"./watchpost-data\"" => "data_dir = \"/var/lib/watchpost\"".to_owned(),
            line if is_kept => line.to_owned(),
            line => format!("#{line}"),
        };
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn opening(name: &str) -> String {
    format!("<!-- made from the declaration: {name} -->\n")
}

const END_MARKER: &str = "<!-- until here -->";

fn replace(text: &mut String, name: &str, made: &str) {
    let opening = opening(name);
    let Some(start) = text.find(&opening).map(|at| at + opening.len()) else {
        return;
    };
    let end = text[start..].find(END_MARKER).map_or(text.len(), |at| start + at);
    text.replace_range(start..end, &format!("\n{made}\n"));
}

fn table(section: &Field) -> String {
    let mut rows = String::from("| key | type | default | description |\n| --- | --- | --- | --- |\n");
    match &section.shape {
        Shape::Table(fields) => add_rows(fields, section.name, &mut rows),
        Shape::Leaf(leaf) if leaf.fields_of_each.is_empty() => {
            add_rows(std::slice::from_ref(section), "", &mut rows);
        }
        Shape::Leaf(leaf) => add_rows(&leaf.fields_of_each, &format!("{}[]", section.name), &mut rows),
    }
    format!("{}\n\n{rows}", section.meaning)
}

fn add_rows(fields: &[Field], key: &str, rows: &mut String) {
    for field in fields {
        let key = dotted_on(key, field.name);
        match &field.shape {
            Shape::Table(below) => add_rows(below, &key, rows),
            Shape::Leaf(leaf) => {
                let default = match &leaf.default {
                    Value::Null => String::new(),
                    Value::Array(items) => items.iter().map(code).collect::<Vec<_>>().join(" "),
                    value => code(value),
                };
                let row = [format!("`{key}`"), leaf.written_as(), default, field.meaning.clone()];
                let row = row.map(|cell| cell.replace('|', "\\|"));
                rows.push_str(&format!("| {} |\n", row.join(" | ")));
            }
        }
    }
}

fn code(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    format!("`{text}`")
}
