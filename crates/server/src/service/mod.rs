//! The use-cases: each authorises, changes and publishes. They know neither HTTP nor WebSocket.

pub mod accounts;
pub mod admin;
pub mod amend;
pub mod arrival;
pub mod audit;
pub mod auth;
pub mod backups;
pub mod bans;
pub mod believed;
pub mod calls;
pub mod capabilities;
pub mod chat;
pub mod direct;
pub mod ended;
pub mod export;
pub mod farewell;
pub mod hashing;
pub mod health;
pub mod ice;
pub mod info;
pub mod invites;
pub mod limits;
pub mod members;
pub mod metrics;
pub mod notifications;
pub mod outbox;
pub mod p2p;
pub mod peers;
pub mod presence;
pub mod profile;
pub mod retention;
pub mod room_invites;
pub mod rooms;
pub mod search;
pub mod sessions;
pub mod shares;
pub mod tokens;
pub mod totp;
pub mod users;

/// A part of a list.
#[derive(Debug)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next part begins, while there is more.
    pub next: Option<String>,
}

/// Cuts a list that was read one item longer than asked: its rest is the next page.
fn page<T, C>(mut items: Vec<(T, C)>, limit: usize, cursor: impl Fn(&C) -> String) -> Page<T> {
    let more = items.len() > limit;
    items.truncate(limit);
    let next = if more { items.last().map(|(_, c)| cursor(c)) } else { None };
    Page { items: items.into_iter().map(|(item, _)| item).collect(), next }
}
