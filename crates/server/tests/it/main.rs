//! The whole server, driven from outside.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    reason = "tests say what is wrong by failing"
)]

mod admin;
mod bench;
mod calls;
mod client;
mod conversation;
mod deployment;
mod doctor;
mod kit;
mod leaving;
mod operations;
mod p2p;
mod process;
mod push;
mod realtime;
mod rest;
mod rooms;
mod search;
mod second_factor;
mod store;
mod third_party;
