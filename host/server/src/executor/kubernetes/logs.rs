//! The text that a container of a run's pod prints, exactly once, or with a gap that is told.
//!
//! ```text
//!   source ─▶ lines ─▶ take ─▶ items
//!     ▲                  │
//!     └──── follow ◀─────┘  asks again, from where `take` is
//! ```
//!
//! The API serves the newest file of a container's log from its start, or without the lines of before some second. Whether an answer is
//! whole, it does not say: files are rotated, connections are cut, an API server that loses the kubelet halfway ends its answer as if that
//! were all, and a kubelet that reads slower than files are rotated leaves one out. So the containers number what they print
//! ([`frames`](crate::sources::fetch::frames)): what was taken before is known by its number, and so is what is missing.

mod follow;
mod lines;
mod place;
mod source;
mod take;
#[cfg(test)]
mod tests;

pub use follow::{Options, Standing, follow};
pub use place::Place;
pub use source::{PodLog, Query, Source, SourceError};
pub use take::Item;
