//! Rules of a running server: upload, trial, activation, shadow mode, rollback and quarantine, and the persistence of
//! all of it; and how a server fails closed.

mod accepted;
mod activating;
mod folder;
mod lockout;
mod log;
mod misbehaving;
mod persistence;
mod provenance;
mod quarantine;
mod reloading;
mod schemas;
mod shadows;
mod shared_database;
mod trial;
mod unevaluated;
mod uploading;
