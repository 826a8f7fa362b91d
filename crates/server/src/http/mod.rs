//! HTTP: the flat list of routes, what wraps them, and how requests are read and errors told.
//!
//! A handler reads the request, calls one use-case of [`crate::service`] and writes the answer. What every request has
//! in common (request id, log span, panics, trailing slash, CORS) is done once, around the router.

mod admin;
mod auth;
mod bans;
mod body;
mod docs;
mod export;
mod extract;
mod farewell;
mod head;
mod invite_pages;
mod members;
mod messages;
mod notifications;
mod openapi;
mod problem;
mod query;
mod room_invites;
mod rooms;
mod router;
mod search;
mod server;
mod sessions;
mod shell;
#[cfg(test)]
mod testing;
mod tokens;
mod totp;

pub use head::simple_get;
pub use openapi::{openapi, openapi_json};
pub use router::{metrics_site, site};
pub use shell::{Shell, Visit};
