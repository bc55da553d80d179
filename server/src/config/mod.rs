//! What an operator can set, where it is set, and what is wrong with it.
