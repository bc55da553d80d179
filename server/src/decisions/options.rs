//! The choices an operator has about decision records: which fields are masked, and what happens when the queue is
//! full.

use crate::string_enum::string_enum;

string_enum! {
    /// What happens when too many records wait to be written.
    pub enum WhenFull {
        /// The next is dropped, and counted.
        Drop = "drop",
        /// Its request waits for room; not for long.
        Block = "block",
    }
}

string_enum! {
    /// What of a record can be kept secret: what persons could be known by.
    pub enum Masked {
        /// Who asked.
        Identity = "identity",
        /// From where.
        Address = "address",
        /// What it was to be done to.
        Resource = "resource",
        /// What they were told.
        Reason = "reason",
        /// The roles that they have.
        Roles = "roles",
        /// By what the request is found in other logs.
        RequestId = "request_id",
    }
}
