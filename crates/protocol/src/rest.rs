//! Bodies of the REST calls that are not shared with events.

mod rooms;

pub use rooms::{
    Ban, BanRequest, CreateRoomInviteRequest, DirectRequest, RoomInvite, UpdateMemberRequest, UpdateRoomRequest,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    MessageId, PeerId, RoomId, SessionId, Timestamp, UserId,
    model::{Capability, IceServer, MemberRole, User, Visibility},
};

/// `POST /api/auth/register`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct RegisterRequest {
    /// 3–32 of `A-Za-z0-9._-`; unique without case.
    #[schema(min_length = 3, max_length = 32, pattern = "^[A-Za-z0-9._-]+$", example = "ana")]
    pub username: String,
    /// At least 8 characters, at most 72 bytes.
    #[schema(min_length = 8, max_length = 72, example = "correct horse battery")]
    pub password: String,
    /// An address for mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 3, max_length = 254, example = "ana@example.org")]
    pub email: Option<String>,
    /// What the person is called; the user name unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 100, example = "Ana")]
    pub display_name: Option<String>,
    /// A registration invite, where the server asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub invite: Option<String>,
}

/// `POST /api/auth/login`, as JSON or as the OAuth 2 password form.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct LoginRequest {
    /// The account's name, in any case.
    #[schema(example = "ana")]
    pub username: String,
    /// Its password.
    #[schema(example = "correct horse battery")]
    pub password: String,
}

/// `POST /api/auth/refresh`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct RefreshRequest {
    /// The refresh token of the last answer.
    #[schema(max_length = 200)]
    pub refresh_token: String,
}

/// `PATCH /api/auth/me`: what is absent stays.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct UpdateMeRequest {
    /// What the person is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 100, example = "Ana")]
    pub display_name: Option<String>,
    /// An address for mail; null removes it.
    #[serde(default, with = "double_option", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, min_length = 3, max_length = 254, example = "ana@example.org")]
    pub email: Option<Option<String>>,
}

/// Tells an absent field from a null one.
pub(crate) mod double_option {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<T: Serialize, S: Serializer>(
        value: &Option<Option<T>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.as_ref().and_then(Option::as_ref).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Option<Option<T>>, D::Error> {
        Option::deserialize(d).map(Some)
    }
}

/// `POST /api/auth/password`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct ChangePasswordRequest {
    /// The password until now.
    pub current_password: String,
    /// At least 8 characters, at most 72 bytes.
    #[schema(min_length = 8, max_length = 72)]
    pub new_password: String,
}

/// A login, as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionInfo {
    /// The login's id.
    pub id: SessionId,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last used, within a few minutes.
    pub last_seen_at: Timestamp,
    /// What the client called itself.
    #[schema(required)]
    pub user_agent: Option<String>,
    /// Where it came from.
    pub ip: String,
    /// Whether it is the one that asks.
    pub current: bool,
}

/// `POST /api/auth/ws-ticket`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct Ticket {
    /// For `/ws?ticket=`; works once.
    pub ticket: String,
    /// Seconds until it ends: 30.
    pub expires_in: u64,
}

/// `POST /api/auth/capability`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CapabilityRequest {
    /// In which room it is to hold; the caller must be a member.
    pub room_id: RoomId,
    /// What the holder may, 1–6 of them.
    #[schema(min_items = 1, max_items = 6)]
    pub capabilities: Vec<Capability>,
    /// With which peer; any in the room where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_peer_id: Option<PeerId>,
    /// How long it lives, seconds: 60–180, 120 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 60, maximum = 180)]
    pub ttl: Option<i64>,
    /// SHA-256 of the caller's DTLS or QUIC certificate, as SDP writes it (`sha-256 AB:CD:…`) or base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 120)]
    pub fingerprint: Option<String>,
}

/// What `POST /api/auth/capability` gives.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct CapabilityResponse {
    /// A JWT with the header type `mesh-cap+jwt`.
    pub capability_token: String,
    /// Always `capability`.
    #[schema(example = "capability")]
    pub token_type: String,
    /// What its holder may.
    pub capabilities: Vec<Capability>,
    /// In which room.
    pub room_id: RoomId,
    /// With which peer; null where any.
    #[schema(required)]
    pub target_peer_id: Option<PeerId>,
    /// Seconds until it ends.
    pub expires_in: u64,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// What a login gives.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct TokenResponse {
    /// A JWT for `Authorization: Bearer`.
    pub access_token: String,
    /// Always `bearer`.
    #[schema(example = "bearer")]
    pub token_type: String,
    /// Seconds until the access token ends.
    pub expires_in: u64,
    /// For `POST /api/auth/refresh`; works once.
    pub refresh_token: String,
    /// Whose tokens these are.
    pub user: User,
}

/// `POST /api/rooms`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CreateRoomRequest {
    /// 1–100 characters on one line.
    #[schema(min_length = 1, max_length = 100, example = "Cuisine")]
    pub name: String,
    /// At most 1,000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1000)]
    pub description: Option<String>,
    /// `private` unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visibility: Option<Visibility>,
}

/// `POST /api/rooms/{id}/members`: one of `username` and `user_id`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct AddMemberRequest {
    /// Whom, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "ben")]
    pub username: Option<String>,
    /// Whom, by id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// `member` unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<MemberRole>,
}

/// `POST /api/rooms/{id}/messages`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PostMessageRequest {
    /// 1–4,000 characters (`MESH_MAX_MESSAGE_CHARS`).
    #[schema(min_length = 1, example = "Hello")]
    pub content: String,
    /// The sender's own name for the message, 1–64 characters: the same one again is the same message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 64)]
    pub client_id: Option<String>,
    /// The message of this room that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to_id: Option<MessageId>,
}

/// `PATCH /api/rooms/{id}/messages/{message_id}`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EditMessageRequest {
    /// What it says from now on: 1–4,000 characters (`MESH_MAX_MESSAGE_CHARS`).
    #[schema(min_length = 1, example = "Hello, all")]
    pub content: String,
}

/// `PUT /api/rooms/{id}/read`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReadRequest {
    /// Up to where the caller has read. It never moves back, nor beyond the room's `last_seq`.
    #[schema(example = 42)]
    pub seq: u64,
}

/// How an account comes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RegistrationMode {
    /// By anybody.
    Open,
    /// With an invite.
    Invite,
    /// By an administrator.
    Closed,
}

/// `GET /api/info`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Info {
    /// The program's name.
    #[schema(example = "Mesh Server")]
    pub name: String,
    /// Its version, SemVer.
    pub version: String,
    /// The real-time protocol's version.
    pub protocol: u32,
    /// Who may register.
    pub registration: RegistrationMode,
    /// What this server can do.
    pub features: Vec<String>,
}

/// `GET /api/ice-servers`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct IceServers {
    /// STUN and TURN servers, as `RTCPeerConnection` takes them.
    pub ice_servers: Vec<IceServer>,
    /// How long the TURN credential lives, seconds.
    #[schema(example = 3600)]
    pub ttl: u32,
}

/// `GET /health` and `GET /ready`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `ok`.
    #[schema(example = "ok")]
    pub status: String,
    /// With `/ready`, what an operator should know though the server works: `clock_jumped` for ten minutes after the wall clock was
    /// moved. Absent where there is nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One field that a request got wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct FieldError {
    /// The field's name, with dots where it is nested.
    pub field: String,
    /// For programs: `required`, `too_short`, `too_long`, `invalid`, `invalid_type`, …
    pub code: String,
    /// For people: what is allowed.
    pub message: String,
}

/// An error: `application/problem+json` (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `about:blank`, as the status and `code` say it all (RFC 9457, section 4.2.1).
    #[serde(rename = "type")]
    pub kind: String,
    /// The status's own phrase.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// A sentence for a person.
    pub detail: String,
    /// For programs: stable, snake_case.
    pub code: String,
    /// With 422: which fields, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// With `totp_required`: for `POST /api/auth/login/totp`, within five minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge: Option<String>,
}
