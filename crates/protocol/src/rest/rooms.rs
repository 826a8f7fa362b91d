//! Bodies of the calls about rooms, their members, bans and invites.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::double_option;
use crate::{
    Timestamp, UserId,
    model::{MemberRole, Visibility},
};

/// `PATCH /api/rooms/{id}`: what is absent stays.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct UpdateRoomRequest {
    /// 1–100 characters on one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 100, example = "Kitchen")]
    pub name: Option<String>,
    /// At most 1,000 characters; null or empty removes it.
    #[serde(default, with = "double_option", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 1000)]
    pub description: Option<Option<String>>,
    /// Who may find it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visibility: Option<Visibility>,
    /// Days that messages are kept, for the owner to say; null leaves it to the server's own limit.
    #[serde(default, with = "double_option", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 36500)]
    pub retention_days: Option<Option<u32>>,
}

/// `POST /api/rooms/direct`: one of `username` and `user_id`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct DirectRequest {
    /// With whom, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "ben")]
    pub username: Option<String>,
    /// With whom, by id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
}

/// `PATCH /api/rooms/{id}/members/{user_id}`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct UpdateMemberRequest {
    /// The role from now on; `owner` hands the room over.
    pub role: MemberRole,
}

/// `PUT /api/rooms/{id}/bans/{user_id}`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct BanRequest {
    /// Why: at most 500 characters. The room's owner and admins see it, and the server's administrators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 500)]
    pub reason: Option<String>,
}

/// Somebody who may not come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ban {
    /// Who.
    pub user_id: UserId,
    /// The account's name.
    pub username: String,
    /// Why, if it was said.
    #[schema(required)]
    pub reason: Option<String>,
    /// Who decided it; null where that account is gone.
    #[schema(required)]
    pub banned_by: Option<UserId>,
    /// When.
    pub created_at: Timestamp,
}

/// `POST /api/rooms/{id}/invites`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct CreateRoomInviteRequest {
    /// How many may come with it, 1–100,000; any number unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100_000, example = 10)]
    pub max_uses: Option<u32>,
    /// Seconds until it ends, 60 to 31,536,000 (a year); it does not end unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 60, maximum = 31_536_000, example = 604_800)]
    pub expires_in: Option<u32>,
}

/// An invite to a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoomInvite {
    /// For `POST /api/invites/{code}/accept`.
    pub code: String,
    /// The page that says what to do with it.
    pub url: String,
    /// How many may come with it; null for any number.
    #[schema(required)]
    pub max_uses: Option<u32>,
    /// How many have.
    pub uses: u32,
    /// When it ends; null where it does not.
    #[schema(required)]
    pub expires_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it; null where that account is gone.
    #[schema(required)]
    pub created_by: Option<UserId>,
}
