//! The machine that Watchpost runs on, part by part.
