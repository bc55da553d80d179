//! What was measured and judged before. A round is written as it comes (`keep`); when there are enough of them they
//! are packed into a window, one column a series (`condense`); both are read as if they were one (`read`), and the
//! oldest go when there is too much (`sweep`).

mod condense;
mod keep;
pub mod pack;
mod read;
mod round;
mod series;
mod sweep;

pub use self::keep::Keeper;
pub use self::read::{Past, Plan, Selection};
pub use self::series::Series;
pub use self::sweep::{Bounds, Usage};

/// Rounds that are packed together at most, however long that took; reading those that are not packed yet takes
/// longer, and an hour of one every ten seconds is half of this.
const MOST_ROUNDS: usize = 720;
