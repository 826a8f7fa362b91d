//! Bodies of `/api/notifications`, `/api/rooms/{id}/notifications` and `/api/admin/outbox`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{RoomId, Timestamp, UserId};

/// Whether the server has somewhere to push to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PushState {
    /// Whoever is away is told.
    On,
    /// The server has no push server: settings are kept, and nothing is sent.
    Off,
}

/// Whose token a person is reached with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PushToken {
    /// Their own.
    Own,
    /// The server's, for all who have none of their own.
    Server,
    /// None: they are not reached.
    None,
}

/// `GET` and `PUT /api/notifications/gotify`. The token itself is never shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GotifySettings {
    /// Whether the server pushes at all.
    pub push: PushState,
    /// Whose token is used.
    pub token: PushToken,
    /// Whether anything is sent.
    pub enabled: bool,
    /// Only what is at least so urgent: messages are 4, mentions, direct messages and missed calls 6, rings 8.
    #[schema(maximum = 10)]
    pub min_priority: u8,
}

/// `PUT /api/notifications/gotify`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct GotifyRequest {
    /// Your own Gotify application token; absent, the one that you gave before stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 200, example = "AkWqEq8nEsFs9sE")]
    pub token: Option<String>,
    /// Whether anything is sent; `true` unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Only what is at least so urgent; 0, everything, unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 10)]
    pub min_priority: Option<u32>,
}

/// `POST /api/notifications/gotify/test`: what really became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PushTest {
    /// Whether the push server took it.
    pub delivered: bool,
    /// The status of its answer; null where there was none.
    #[schema(required)]
    pub status: Option<u16>,
    /// A sentence for a person.
    pub detail: String,
}

/// The language of notifications.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Locale {
    /// English.
    #[default]
    En,
    /// French.
    Fr,
}

impl Locale {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Fr => "fr",
        }
    }

    /// Reads its word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::En, Self::Fr].into_iter().find(|locale| locale.as_str() == word)
    }
}

/// `GET` and `PUT /api/notifications`: when and how a person is told. In a `PUT`, what is absent or null is the default:
/// no quiet hours, `UTC`, `en`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NotificationSettings {
    /// Whether the server pushes at all.
    pub push: PushState,
    /// From when on notifications are held, `HH:MM` in the time zone. A ring of a direct room is not; one of another
    /// room is dropped.
    #[schema(required, example = "22:00")]
    pub quiet_from: Option<String>,
    /// Until when they are held.
    #[schema(required, example = "07:00")]
    pub quiet_to: Option<String>,
    /// A name of the IANA time zone database.
    #[schema(example = "Europe/Paris")]
    pub time_zone: String,
    /// The language.
    pub locale: Locale,
}

/// `PUT /api/notifications`.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct NotificationRequest {
    /// From when on notifications are held, `HH:MM` in the time zone; with `quiet_to`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$", example = "22:00")]
    pub quiet_from: Option<String>,
    /// Until when they are held, the next morning where that is earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$", example = "07:00")]
    pub quiet_to: Option<String>,
    /// A name of the IANA time zone database; `UTC` unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 64, example = "Europe/Paris")]
    pub time_zone: Option<String>,
    /// The language; `en` unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<Locale>,
}

/// What a member wants to hear of a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum NotificationLevel {
    /// Every message.
    #[default]
    All,
    /// Mentions; in a direct room every message.
    Mentions,
    /// Nothing: no message, no ring. In a direct room rings are still told.
    None,
}

impl NotificationLevel {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Mentions => "mentions",
            Self::None => "none",
        }
    }

    /// Reads its word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::All, Self::Mentions, Self::None].into_iter().find(|level| level.as_str() == word)
    }
}

/// `GET` and `PUT /api/rooms/{id}/notifications`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoomNotifications {
    /// Whether the server pushes at all.
    pub push: PushState,
    /// What you want to hear of the room.
    pub level: NotificationLevel,
    /// Until when nothing of the room is told, whatever the level; in a direct room rings are.
    #[schema(required)]
    pub muted_until: Option<Timestamp>,
}

/// `PUT /api/rooms/{id}/notifications`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct RoomNotificationsRequest {
    /// What you want to hear of the room.
    pub level: NotificationLevel,
    /// Until when nothing of the room is told, whatever the level; absent or null: not muted. In a direct room rings
    /// are told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted_until: Option<Timestamp>,
}

/// What became of a notification so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OutboxState {
    /// It will be sent.
    Waiting,
    /// It was given up, for the reason in `last_error`.
    Dead,
}

/// What a notification tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PushKind {
    /// Messages of a room.
    Message,
    /// Somebody is calling.
    Ring,
    /// Somebody has called.
    Missed,
}

impl PushKind {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Ring => "ring",
            Self::Missed => "missed",
        }
    }

    /// Reads its word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Message, Self::Ring, Self::Missed].into_iter().find(|kind| kind.as_str() == word)
    }
}

/// A notification that has not been delivered, as an administrator sees it: never what it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OutboxEntry {
    /// Its id, which the receiver sees too.
    pub id: String,
    /// Whether it will be sent.
    pub state: OutboxState,
    /// What it tells of.
    pub kind: PushKind,
    /// For whom.
    pub user_id: UserId,
    /// Their user name.
    pub username: String,
    /// Of which room.
    pub room_id: RoomId,
    /// How many messages or calls it stands for: of what waits, those of others from its first on, at most 1,000.
    pub count: u64,
    /// How urgent it is: 0 to 10.
    pub priority: u8,
    /// How often it was tried.
    pub attempts: u64,
    /// Why the last attempt failed.
    #[schema(required)]
    pub last_error: Option<String>,
    /// Since when.
    pub created_at: Timestamp,
    /// When it is tried next; null for a dead one.
    #[schema(required)]
    pub due_at: Option<Timestamp>,
    /// When it was given up.
    #[schema(required)]
    pub dead_at: Option<Timestamp>,
}
