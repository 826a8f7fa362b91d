//! The REST side, call by call.

mod capabilities;
mod guessing;
mod headers;
mod keys;
mod liveness;
mod sessions;
