//! The tests that `make test-all` adds: they need other languages, a browser, a container with systemd or a fresh
//! clone, or they run for minutes.

mod abuse;
mod authoring;
mod deployed;
mod documented;
mod foreign_modules;
mod kill;
mod languages;
mod node_exporter;
mod package;
mod readme;
mod scraping;
mod sslyze;
mod supply_chain;
mod walkthroughs;
