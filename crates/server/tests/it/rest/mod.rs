//! The REST side, call by call.

mod guessing;
mod sessions;
