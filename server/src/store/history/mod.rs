//! What was measured and judged before. A round is written as it comes (`keep`); when there are enough of them they
//! are packed into a window, one column a series (`condense`); both are read as if they were one (`read`), and the
//! oldest go when there is too much (`sweep`).

mod compact;
pub mod pack;
mod read;
mod retention;
mod round;
mod series;
mod write;

pub use self::read::{Past, Plan, Selection};
pub use self::retention::{Bounds, Usage};
pub use self::series::Series;
pub use self::write::Keeper;

/// Rounds that are packed together at most, however long that took; reading those that are not packed yet takes
/// longer, and an hour of one every ten seconds is half of this.
const MAX_ROUNDS_PER_BLOCK: usize = 720;
