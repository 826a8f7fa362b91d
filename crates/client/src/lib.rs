//! A typed async client for Mesh Server.
//!
//! Three layers, each usable alone:
//! - [`Rest`]: the REST calls, typed; errors are the server's own [`Problem`](mesh_protocol::rest::Problem)s.
//! - [`Connection`]: one WebSocket, typed and raw: what is sent is what you send, what comes is what you get.
//! - [`Client`]: what an application wants: it reconnects, resumes each room where it stood, gives every message once
//!   and in order, and repeats what was not acknowledged under the same `client_id`, so that nothing is said twice.
//!
//! ```no_run
//! # async fn run() -> Result<(), mesh_client::Error> {
//! use mesh_client::{Client, Config, Event, Login, Rest};
//! use mesh_protocol::rest::LoginRequest;
//!
//! let rest = Rest::new("http://localhost:8000")?;
//! let login = LoginRequest { username: "ana".into(), password: "correct horse battery".into() };
//! let login = Login::new(&rest, rest.login(&login).await?); // refreshes itself, as long as it is used
//! let room = login.rest().all_rooms(None).await?.remove(0);
//!
//! let (client, mut events) = Client::connect(Config::new("http://localhost:8000", login)).await?;
//! client.join(room.id).await?;
//! let message = client.send(room.id, "Hello").await?; // committed: it survives the death of any process
//! println!("said as number {}", message.seq);
//! while let Some(event) = events.recv().await {
//!     if let Event::Message(created) = event {
//!         println!("{}: {}", created.message.username, created.message.content);
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod ambient;
mod backoff;
mod base;
mod client;
mod config;
mod error;
mod event;
mod login;
mod outlet;
mod pace;
mod rest;
mod roomlog;
mod session;
mod socket;
mod state;
#[cfg(test)]
mod tests;
mod upstream;

pub use client::{Client, Events};
pub use config::{Config, Credential, FixedToken, Need, TokenFuture, TokenSource};
pub use error::Error;
pub use event::Event;
pub use login::Login;
pub use rest::{History, Page, Rest};
pub use socket::{Connection, Head, Incoming};
