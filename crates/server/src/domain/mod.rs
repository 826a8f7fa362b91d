//! The rules: pure functions and state machines. No async, no input or output; the time is an argument.

pub mod bucket;
pub mod call;
pub mod feed;
pub mod gone;
pub mod happening;
pub mod mentions;
pub mod outqueue;
pub mod p2p;
pub mod policy;
pub mod presence;
pub mod push;
pub mod recovery;
pub mod ring;
pub mod scope;
pub mod search;
pub mod shares;
pub mod terminal;
pub mod totp;
