//! Where rules come from. Judging with them is the work of `watchpost-policies`.

pub mod builtin;
