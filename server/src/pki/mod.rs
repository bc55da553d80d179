//! The development authority: makes certificates where there is no better one.
