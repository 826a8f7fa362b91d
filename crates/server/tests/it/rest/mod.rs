//! The REST side, call by call.

mod capabilities;
mod credentials;
mod guessing;
mod headers;
mod keys;
mod liveness;
mod sessions;
