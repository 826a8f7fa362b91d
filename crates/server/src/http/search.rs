//! `/api/rooms/{id}/messages/search`.

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap};
use mesh_protocol::model::Message;
use utoipa::IntoParams;

use super::{
    body::Json,
    extract::RoomPath,
    query::{FromQuery, Given, Query},
};
use crate::{
    app::App,
    error::Result,
    service::{auth::Caller, search},
};

/// Of `GET /api/rooms/{id}/messages/search`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct SearchQuery {
    /// Words with anything between them that is neither letter nor digit; the first 16 count. No sign has a meaning, and
    /// where there is no word, nothing is found.
    #[param(value_type = String, required = true, min_length = 1, max_length = 200)]
    q: Option<String>,
    /// How many at most.
    #[param(value_type = i32, required = false, minimum = 1, maximum = 200, default = 50)]
    limit: usize,
    /// Where to go on: opaque, from the `Link` header of the page before.
    #[param(value_type = String, required = false, pattern = "^[0-9]{1,18}$")]
    cursor: Option<String>,
}

impl FromQuery for SearchQuery {
    fn read(given: &mut Given<'_>) -> Self {
        Self { q: given.text("q"), limit: given.limit(), cursor: given.text("cursor") }
    }
}

/// Search messages
///
/// Those that hold all the words of `q`, the last one also as the beginning of a word; newest first. Case and accents
/// make no difference. Deleted messages are not found, edited ones by what they say now.
#[utoipa::path(
    get, path = "/api/rooms/{id}/messages/search", tag = "messages",
    params(RoomPath, SearchQuery),
    responses(
        (
            status = 200, description = "A page of messages.", body = Vec<Message>,
            headers(("Link" = String, description = "The next page as `rel=\"next\"` (RFC 8288), while there is more.")),
        ),
        (status = 403, description = "`forbidden`: the room is public, and the caller has not joined it."),
    ),
)]
pub(super) async fn search_messages(
    State(app): State<Arc<App>>,
    caller: Caller,
    RoomPath(id): RoomPath,
    query: Query<SearchQuery>,
) -> Result<(HeaderMap, Json<Vec<Message>>)> {
    let SearchQuery { q, limit, cursor } = &query.params;
    let found = search::messages(&app, &caller, id, q.as_deref(), *limit, cursor.as_deref()).await?;
    let (headers, messages) = query.page(found);
    Ok((headers, Json(messages)))
}
