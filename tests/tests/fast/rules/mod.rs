//! Rules of a running server: upload, trial, activation, shadow mode, rollback and quarantine, and the persistence of
//! all of it.

mod activating;
mod folder;
mod keeping;
mod locking;
mod log;
mod misbehaving;
mod provenance;
mod quarantine;
mod reloading;
mod schemas;
mod shadows;
mod sharing;
mod trying;
mod uploading;
