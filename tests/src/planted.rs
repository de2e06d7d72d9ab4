//! Planted secrets: thirty values that must not be found, the forms that a build prints them in, and the search for them.

pub mod forms;
pub mod search;
pub mod values;
