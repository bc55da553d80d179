//! The tests that `make test-all` adds: they need other languages, a browser, a machine of its own or a fresh clone, or
//! they repeat something for minutes.

mod authoring;
mod deployed;
mod documented;
mod foreign_modules;
mod kill;
mod languages;
mod package;
mod readme;
mod walkthroughs;
