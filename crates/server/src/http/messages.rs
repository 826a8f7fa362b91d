//! `/api/rooms/{id}/messages`.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use mesh_protocol::{model::Message, rest::PostMessageRequest};

use super::{
    extract::{Json, RoomPath},
    query::{MessagesQuery, Query},
};
use crate::{
    app::App,
    error::Result,
    service::{auth::Caller, chat},
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
