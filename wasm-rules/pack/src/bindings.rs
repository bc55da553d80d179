//! The contract as C reads it, for those who write a rule without having the generator. What the names are is told
//! in the example's Makefile too, which makes the same files with the program `wit-bindgen`.

use std::path::Path;

use wit_bindgen_c::Opts;
use wit_bindgen_core::Files;
use wit_parser::Resolve;

use crate::PackError;

/// The interface's long name would stand in the name of every type.
const SHORTER: (&str, &str) = ("watchpost:rules/threshold-rule@1.0.0", "rule");

/// For a build script: writes `watchpost.c`, `watchpost.h` and `watchpost_component_type.o` for threshold rules to
/// the folder.
pub fn bindings_for_c(wit: &Path, folder: &Path) -> Result<(), PackError> {
    let files = generated(wit).map_err(|why| PackError::NoBindings { why })?;
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

fn generated(wit: &Path) -> Result<Files, String> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit).map_err(|error| format!("{error:#}"))?;
    let world = resolve.select_world(&[package], Some("threshold"));
    let world = world.map_err(|error| format!("{error:#}"))?;
    let options = Opts {
        no_helpers: true,
        rename: vec![(SHORTER.0.to_owned(), SHORTER.1.to_owned())],
        rename_world: Some("watchpost".to_owned()),
        ..Opts::default()
    };
    let mut files = Files::default();
    let generated = options.build().generate(&mut resolve, world, &mut files);
    generated.map_err(|error| format!("{error:#}"))?;
    Ok(files)
}
