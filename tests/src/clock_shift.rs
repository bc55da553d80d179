//! A clock that is wrong: a library that a program loads first, and that shifts the time of day of the program. The
//! monotonic clock stays right.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The variable that makes a program load the library.
pub const VARIABLE: &str = "LD_PRELOAD";

/// Builds the library for a clock that is this many seconds ahead, with the compiler that also links Rust programs.
pub fn library(folder: &Path, seconds: i64) -> PathBuf {
    let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
    let text = format!(
        "#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <time.h>\n\
         int clock_gettime(clockid_t clock, struct timespec *time) {{\n\
         static int (*real)(clockid_t, struct timespec *);\n\
         if (!real) real = dlsym(RTLD_NEXT, \"clock_gettime\");\n\
         int failed = real(clock, time);\n\
         if (!failed && clock == CLOCK_REALTIME) time->tv_sec += {seconds};\n\
         return failed; }}\n"
    );
    std::fs::write(&source, text).expect("the folder can be written");
    let output = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .output()
        .expect("a C compiler");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    library
}
