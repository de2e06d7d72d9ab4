//! The log of a container in a pod, exactly once, or with a gap that is told.
//!
//! ```text
//!   source ─▶ lines ─▶ take ─▶ items
//!     ▲                  │
//!     └──── follow ◀─────┘  asks again, from where `take` is
//! ```
//!
//! What can be known: the API serves the newest file of a container's log from its start, or without the lines of before some second, and
//! each line with the time at which it was written. So a position is a line's time, and how many lines have that very time. Whoever
//! asks again asks from a while before the position, and finds its line among what comes; what follows it is new. If its line is not there,
//! the file that had it was rotated away, and what it had behind the line is gone as far as anybody can tell: that is a gap.
//!
//! What cannot be known: whether the kubelet itself, which follows the files, missed something within one answer. It can, where it reads
//! slower than files are rotated, and by its own race in the moment of a rotation.

mod follow;
mod lines;
mod place;
mod source;
mod stamp;
mod take;
#[cfg(test)]
mod tests;

pub use follow::{Options, Standing, follow};
pub use place::Place;
pub use source::{PodLog, Query, Source, SourceError};
pub use take::Item;
