//! What is promised of rules while Watchpost serves: they are brought, tried, put in force, compared, taken back, and
//! put aside where they fail; and none of it is lost.

mod activating;
mod folder;
mod healing;
mod keeping;
mod locking;
mod log;
mod misbehaving;
mod provenance;
mod reloading;
mod schemas;
mod shadows;
mod sharing;
mod trying;
mod uploading;
