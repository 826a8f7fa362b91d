//! The REST side, call by call.

mod capabilities;
mod guessing;
mod keys;
mod sessions;
