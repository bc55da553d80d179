//! The operator's options for decision records: which fields are masked, and what happens when the queue is full.

use crate::string_enum::string_enum;

string_enum! {
    /// What happens when the queue of records is full.
    pub enum WhenFull {
        /// The record is dropped and counted.
        Drop = "drop",
        /// The request waits for room, for at most one second.
        Block = "block",
    }
}

string_enum! {
    /// A field of a record that can be masked because it may identify a person.
    pub enum Masked {
        /// The client's identity.
        Identity = "identity",
        /// The client's address.
        Address = "address",
        /// The resource of the request.
        Resource = "resource",
        /// The reason given to the client.
        Reason = "reason",
        /// The client's roles.
        Roles = "roles",
        /// The id of the request, which other logs have too.
        RequestId = "request_id",
    }
}
