//! The stored history. A round is written as one row (`write`); when there are enough rounds they are compacted into a
//! window with one column per series (`compact`); both are read as one history (`read`), and the oldest windows are
//! pruned (`retention`).

mod compact;
mod read;
mod retention;
mod round;
mod series;
mod write;

pub use self::read::{Plan, Selection, StoredRound};
pub use self::retention::{RetentionLimits, Usage};
pub use self::series::Series;
pub use self::write::RoundWriter;

/// The maximum number of rounds in a window. Reading rounds that are not compacted is slower, and an hour of one round
/// every ten seconds is half of this.
const MAX_ROUNDS_PER_BLOCK: usize = 720;
