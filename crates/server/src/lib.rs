//! Mesh Server: a self-hosted control plane for private collaboration.
//!
//! The library behind the binary `mesh-server`; `docs/architecture.md` is the map.

pub mod app;
pub mod bus;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod error;
pub mod http;
pub mod ids;
pub mod keys;
pub mod lifecycle;
pub mod metrics;
pub mod outbound;
pub mod push;
mod queue;
pub mod realtime;
pub mod service;
pub mod store;
pub mod tasks;
pub mod tls;
pub mod trace;
pub mod worker;
