//! `/api/rooms/{id}/export`.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::header,
    response::{IntoResponse as _, Response},
};
use mesh_protocol::model::ExportLine;

use super::extract::RoomPath;
use crate::{
    app::App,
    error::{Error, Result},
    service::{auth::Caller, export::Export},
};

/// Export a room
///
/// All of it for its owner: a JSON object a line, each with a `type`: the `room` first, then each `member` by name
/// (without presence), then each `message`, oldest first. Written as it is read, however large; a body that breaks off
/// before its end was not whole.
#[utoipa::path(
    get, path = "/api/rooms/{id}/export", tag = "rooms",
    params(RoomPath),
    responses(
        (
            status = 200, description = "The room, a line for each thing in it.",
            content((ExportLine = "application/x-ndjson")),
            headers(("Content-Disposition" = String, description = "A file's name for it.")),
        ),
        (status = 403, description = "`forbidden`: this is for the room's owner."),
    ),
)]
pub(super) async fn export_room(
    State(app): State<Arc<App>>,
    caller: Caller,
    RoomPath(id): RoomPath,
) -> Result<Response> {
    let mut export = Export::new(app, caller, id);
    // What goes wrong before the first line is an answer; later it breaks the body off.
    let first = export.next().await?;
    let lines = futures_util::stream::try_unfold((first, export), |(page, mut export)| async move {
        let page = match page {
            Some(page) => page,
            None => match export.next().await? {
                Some(page) => page,
                None => return Ok(None),
            },
        };
        let mut text = Vec::with_capacity(page.len() * 512);
        for line in &page {
            serde_json::to_writer(&mut text, line).map_err(Error::internal)?;
            text.push(b'\n');
        }
        Ok::<_, Error>(Some((Bytes::from(text), (None, export))))
    });
    let disposition = format!("attachment; filename=\"room-{id}.ndjson\"");
    let headers =
        [(header::CONTENT_TYPE, "application/x-ndjson".to_owned()), (header::CONTENT_DISPOSITION, disposition)];
    Ok((headers, Body::from_stream(lines)).into_response())
}
