//! Writes the rules of the tests into a folder as the initial corpus of the fuzzer, which finds errors much faster from
//! valid rules. `make fuzz` runs it.

use std::io;
use std::path::PathBuf;

use clap::Parser;
use watchpost_tests::crafted::{CONTRACT, manifest, of_world, threshold, wat};
use watchpost_tests::guests::{ALLOW_ALL, HOSTILE, LOCKOUT_RULE, ROLE, THRESHOLD};

#[derive(Parser)]
struct Arguments {
    /// The folder; it is created if it is missing.
    folder: PathBuf,
}

fn main() -> io::Result<()> {
    let Arguments { folder } = Arguments::parse();
    std::fs::create_dir_all(&folder)?;
    let built = [THRESHOLD, ROLE, HOSTILE, LOCKOUT_RULE, ALLOW_ALL].map(<[u8]>::to_vec);
    // Small components, in which a mutation is more likely to matter.
    let extra = format!("{} {}", manifest([(3000, 1); 4]), r#"(data (i32.const 3000) "x")"#);
    let crafted = [
        threshold(&wat(1, "i32.const 2048", &extra)),
        of_world(CONTRACT, "threshold"),
        of_world(CONTRACT, "role"),
    ];
    for (at, seed) in built.iter().chain(&crafted).enumerate() {
        std::fs::write(folder.join(format!("seed-{at}.wasm")), seed)?;
    }
    Ok(())
}
