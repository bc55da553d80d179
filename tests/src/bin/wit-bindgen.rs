//! The part of the program `wit-bindgen` that makes bindings for C, with the same arguments. The whole program
//! compiles generators for six languages, which takes a test machine six minutes.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use wit_bindgen_core::Files;
use wit_parser::Resolve;

#[derive(Parser)]
enum Language {
    C {
        #[command(flatten)]
        options: wit_bindgen_c::Opts,
        #[arg(long)]
        world: String,
        #[arg(long)]
        out_dir: PathBuf,
        wit: PathBuf,
    },
}

fn main() -> ExitCode {
    match generate(Language::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{error:#}\n"));
            ExitCode::FAILURE
        }
    }
}

fn generate(language: Language) -> Result<(), Box<dyn std::error::Error>> {
    let Language::C {
        options,
        world,
        out_dir,
        wit,
    } = language;
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit)?;
    let world = resolve.select_world(&[package], Some(&world))?;
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files)?;
    std::fs::create_dir_all(&out_dir)?;
    for (name, bytes) in files.iter() {
        std::fs::write(out_dir.join(name), bytes)?;
    }
    Ok(())
}
