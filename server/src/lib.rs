//! Watchpost, the part that lives: it will measure, remember, serve and warn. So far it holds the rules that
//! it brings.

pub mod rules;
