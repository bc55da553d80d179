//! The log: where it goes, how a line looks.
