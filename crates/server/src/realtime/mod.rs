//! The WebSocket side: sockets, what is said on them, and the fan-out of what happens.

mod calls;
pub mod conn;
mod connection;
mod dispatch;
mod encode;
pub mod frame;
pub mod hub;
mod join;
mod p2p;
mod relay;
mod ringing;
mod shares;
mod speech;
mod ticker;
mod topic;
pub mod upgrade;
mod uring;
mod writers;
