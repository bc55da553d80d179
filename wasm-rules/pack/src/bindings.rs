//! Generates the C bindings of the contract, so that authors of rules in C do not need the generator. The Makefile of
//! the example generates the same files with the program `wit-bindgen` and has the same names.

use std::path::Path;

use wit_bindgen_c::Opts;
use wit_bindgen_core::Files;
use wit_parser::Resolve;

use crate::PackError;

/// The full name of the interface and a short one; the generator puts it into the name of every type.
const RENAMED_INTERFACE: (&str, &str) = ("watchpost:rules/threshold-rule@1.0.0", "rule");

/// Writes `watchpost.c`, `watchpost.h` and `watchpost_component_type.o` for threshold rules to the folder, in a build
/// script.
pub fn bindings_for_c(wit: &Path, folder: &Path) -> Result<(), PackError> {
    let files = generate(wit).map_err(|reason| PackError::NoBindings { reason })?;
    std::fs::create_dir_all(folder).map_err(|source| PackError::File {
        path: folder.to_owned(),
        source,
    })?;
    for (name, bytes) in files.iter() {
        let path = folder.join(name);
        std::fs::write(&path, bytes).map_err(|source| PackError::File { path, source })?;
    }
    Ok(())
}

fn generate(wit: &Path) -> Result<Files, String> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit).map_err(|error| format!("{error:#}"))?;
    let world = resolve.select_world(&[package], Some("threshold"));
    let world = world.map_err(|error| format!("{error:#}"))?;
    let options = Opts {
        no_helpers: true,
        rename: vec![(RENAMED_INTERFACE.0.to_owned(), RENAMED_INTERFACE.1.to_owned())],
        rename_world: Some("watchpost".to_owned()),
        ..Opts::default()
    };
    let mut files = Files::default();
    let generated = options.build().generate(&mut resolve, world, &mut files);
    generated.map_err(|error| format!("{error:#}"))?;
    Ok(files)
}
