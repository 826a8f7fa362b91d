//! `/api/rooms/{id}/messages`.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use mesh_protocol::{
    model::Message,
    rest::{EditMessageRequest, PostMessageRequest, ReadRequest},
};

use super::{
    body::Json,
    extract::{EmojiPath, MessagePath, RoomPath},
    query::{MessagesQuery, Query},
};
use crate::{
    app::App,
    error::{Error, Result},
    service::{
        amend::{self, What},
        auth::Caller,
        chat,
    },
};

/// Read messages
///
/// Ascending by `seq`. Without `before_seq` and `after_seq`, the latest.
#[utoipa::path(
    get, path = "/api/rooms/{id}/messages", tag = "messages",
    params(RoomPath, MessagesQuery),
    responses(
        (status = 200, description = "The messages, oldest first.", body = Vec<Message>),
        (status = 403, description = "`forbidden`: the room is public, and the caller has not joined it."),
    ),
)]
pub(super) async fn list_messages(
    State(app): State<Arc<App>>,
    caller: Caller,
    RoomPath(id): RoomPath,
    query: Query<MessagesQuery>,
) -> Result<Json<Vec<Message>>> {
    let MessagesQuery { limit, before_seq, .. } = query.params;
    let mut messages = chat::history(&app, &caller, id, query.params.range(), limit).await?;
    if let Some(before) = before_seq {
        messages.retain(|message| message.seq < before);
    }
    Ok(Json(messages))
}

/// Post a message
///
/// The answer comes after the commit: what was answered is not lost. A `client_id` makes it safe to repeat: the same
/// one from the same user again changes nothing, and is answered with the first message.
#[utoipa::path(
    post, path = "/api/rooms/{id}/messages", tag = "messages",
    params(RoomPath),
    request_body = PostMessageRequest,
    responses(
        (status = 200, description = "The first message with this `client_id`.", body = Message),
        (status = 201, description = "The new message.", body = Message),
        (status = 403, description = "`forbidden`: the caller's role does not allow it."),
        (status = 404, description = "`not_found`: there is no such room, or it is not visible to you; or `unknown_message`: this room has no message `reply_to_id`."),
    ),
)]
pub(super) async fn post_message(
    State(app): State<Arc<App>>,
    caller: Caller,
    RoomPath(id): RoomPath,
    Json(request): Json<PostMessageRequest>,
) -> Result<(StatusCode, Json<Message>)> {
    let (message, created) = chat::post(&app, &caller, id, request).await?;
    Ok((if created { StatusCode::CREATED } else { StatusCode::OK }, Json(message)))
}

/// Edit a message
///
/// Authors change what they said; it keeps its place, and `edited_at` tells of it.
#[utoipa::path(
    patch, path = "/api/rooms/{id}/messages/{message_id}", tag = "messages",
    params(MessagePath),
    request_body = EditMessageRequest,
    responses(
        (status = 200, description = "The message as it is now.", body = Message),
        (status = 403, description = "`forbidden`: somebody else said it."),
        (status = 409, description = "`message_deleted`: there is nothing left to change."),
    ),
)]
pub(super) async fn edit_message(
    State(app): State<Arc<App>>,
    caller: Caller,
    MessagePath(room, message): MessagePath,
    Json(request): Json<EditMessageRequest>,
) -> Result<Json<Message>> {
    amend::now(&app, &caller, room, message, What::Edit(request.content)).await.map(Json)
}

/// Delete a message
///
/// Authors may, and the room's owner and admins. It keeps its place with `content: ""`. Deleted already is fine.
#[utoipa::path(
    delete, path = "/api/rooms/{id}/messages/{message_id}", tag = "messages",
    params(MessagePath),
    responses(
        (status = 204, description = "It is deleted."),
        (status = 403, description = "`forbidden`: somebody else said it, and the caller's role does not allow it."),
    ),
)]
pub(super) async fn delete_message(
    State(app): State<Arc<App>>,
    caller: Caller,
    MessagePath(room, message): MessagePath,
) -> Result<StatusCode> {
    amend::now(&app, &caller, room, message, What::Delete).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// React to a message
#[utoipa::path(
    put, path = "/api/rooms/{id}/messages/{message_id}/reactions/{emoji}", tag = "messages",
    params(MessagePath, EmojiPath),
    responses(
        (status = 204, description = "The reaction is there."),
        (status = 403, description = "`forbidden`: the room is public, and the caller has not joined it."),
        (status = 409, description = "`message_deleted`; or `too_many_reactions`: a message takes at most 32 different ones, and 1,000 in all."),
        (status = 422, description = "`invalid`: emoji: must not contain white space"),
    ),
)]
pub(super) async fn add_reaction(
    State(app): State<Arc<App>>,
    caller: Caller,
    MessagePath(room, message): MessagePath,
    EmojiPath(emoji): EmojiPath,
) -> Result<StatusCode> {
    amend::now(&app, &caller, room, message, What::React(emoji)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take a reaction back
#[utoipa::path(
    delete, path = "/api/rooms/{id}/messages/{message_id}/reactions/{emoji}", tag = "messages",
    params(MessagePath, EmojiPath),
    responses(
        (status = 204, description = "The caller's reaction is not there."),
        (status = 403, description = "`forbidden`: the room is public, and the caller has not joined it."),
        (status = 422, description = "`invalid`: emoji: must not contain white space"),
    ),
)]
pub(super) async fn remove_reaction(
    State(app): State<Arc<App>>,
    caller: Caller,
    MessagePath(room, message): MessagePath,
    EmojiPath(emoji): EmojiPath,
) -> Result<StatusCode> {
    amend::now(&app, &caller, room, message, What::Unreact(emoji)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Mark as read
///
/// Moves the caller's read marker; never back. `unread` and `mentions` of the room count what comes after it.
#[utoipa::path(
    put, path = "/api/rooms/{id}/read", tag = "messages",
    params(RoomPath),
    request_body = ReadRequest,
    responses(
        (status = 204, description = "All up to there is read."),
        (status = 403, description = "`forbidden`: the room is public, and the caller has not joined it."),
    ),
)]
pub(super) async fn mark_read(
    State(app): State<Arc<App>>,
    caller: Caller,
    RoomPath(id): RoomPath,
    Json(request): Json<ReadRequest>,
) -> Result<StatusCode> {
    if i64::try_from(request.seq).is_err() {
        return Err(Error::invalid_field("seq", "out_of_range", format!("must be from 0 to {}", i64::MAX)));
    }
    chat::read(&app, &caller, id, request.seq).await?;
    Ok(StatusCode::NO_CONTENT)
}
