//! The flat list of routes. Each has its OpenAPI entry beside its handler.

use std::sync::Arc;

use axum::{Extension, Router, middleware::from_fn, response::Redirect, routing::get};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    admin, auth, bans, docs, export, farewell, invite_pages, members, messages, notifications, openapi, problem,
    room_invites, rooms, search, server, sessions, shell, tokens, totp,
};
use crate::app::App;

/// Every documented route.
pub(super) fn documented() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(openapi::base())
        .routes(routes!(auth::register))
        .routes(routes!(auth::login))
        .routes(routes!(totp::login_totp))
        .routes(routes!(auth::get_me, sessions::update_me, farewell::delete_me))
        .routes(routes!(sessions::refresh))
        .routes(routes!(sessions::logout))
        .routes(routes!(sessions::change_password))
        .routes(routes!(sessions::list_sessions))
        .routes(routes!(sessions::delete_session))
        .routes(routes!(sessions::ws_ticket))
        .routes(routes!(sessions::capability))
        .routes(routes!(totp::get_totp, totp::begin_totp, totp::disable_totp))
        .routes(routes!(totp::confirm_totp))
        .routes(routes!(tokens::create_token, tokens::list_tokens))
        .routes(routes!(tokens::delete_token))
        .routes(routes!(rooms::create_room, rooms::list_rooms))
        .routes(routes!(rooms::open_direct_room))
        .routes(routes!(rooms::get_room, rooms::update_room, rooms::delete_room))
        .routes(routes!(rooms::join_room))
        .routes(routes!(members::list_members, members::add_member))
        .routes(routes!(members::update_member, members::remove_member))
        .routes(routes!(bans::list_bans))
        .routes(routes!(bans::get_ban, bans::put_ban, bans::delete_ban))
        .routes(routes!(room_invites::create_invite, room_invites::list_invites))
        .routes(routes!(room_invites::delete_invite))
        .routes(routes!(room_invites::accept_invite))
        .routes(routes!(messages::list_messages, messages::post_message))
        .routes(routes!(search::search_messages))
        .routes(routes!(export::export_room))
        .routes(routes!(messages::edit_message, messages::delete_message))
        .routes(routes!(messages::add_reaction, messages::remove_reaction))
        .routes(routes!(messages::mark_read))
        .routes(routes!(admin::list_users, admin::create_user))
        .routes(routes!(admin::get_user, admin::update_user, farewell::delete_user))
        .routes(routes!(admin::reset_totp))
        .routes(routes!(admin::get_stats))
        .routes(routes!(admin::list_audit))
        .routes(routes!(admin::create_registration_invite, admin::list_registration_invites))
        .routes(routes!(admin::delete_registration_invite))
        .routes(routes!(notifications::get_notifications, notifications::set_notifications))
        .routes(routes!(notifications::get_gotify, notifications::set_gotify, notifications::remove_gotify))
        .routes(routes!(notifications::test_gotify))
        .routes(routes!(notifications::get_room_notifications, notifications::set_room_notifications))
        .routes(routes!(notifications::list_outbox))
        .routes(routes!(notifications::delete_outbox))
        .routes(routes!(notifications::requeue_outbox))
        .routes(routes!(server::get_info))
        .routes(routes!(server::ice_servers))
        .routes(routes!(server::jwks))
        .routes(routes!(server::health))
        .routes(routes!(server::ready))
}

/// The documents, and the pages that show them.
pub(super) fn documents<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(|| async { Redirect::temporary("/docs/") }))
        .route("/openapi.json", get(docs::openapi_json))
        .route("/asyncapi.json", get(docs::asyncapi_json))
        .route("/docs", get(|| async { Redirect::permanent("/docs/") }))
        .route("/docs/", get(docs::swagger_page))
        .route("/docs/{*file}", get(docs::swagger_file))
        .route("/redoc", get(docs::redoc_page))
        .route("/redoc/", get(docs::redoc_page))
        .route("/redoc/redoc.standalone.js", get(docs::redoc_script))
        .layer(Extension(docs::Docs::new()))
        .merge(invite_pages::routes())
}

/// The figures, for a scraper.
fn metrics() -> Router<Arc<App>> {
    Router::new().route("/metrics", get(server::metrics))
}

/// What stands on `MESH_METRICS_ADDR`: the figures and nothing else.
pub fn metrics_router(app: Arc<App>) -> Router {
    let (ids, origins, figures) = (app.ids.clone(), app.config.cors_origins.clone(), app.metrics.clone());
    let tracer = app.tracer.clone();
    let routes = problem::fallbacks(metrics()).layer(from_fn(shell::note_route)).with_state(app);
    shell::wrap(routes, ids, origins, figures, tracer)
}

/// The whole HTTP side of a server.
pub fn router(app: Arc<App>) -> Router {
    router_with(app, Router::new())
}

/// The same with more routes (the WebSocket's), which get request ids, log spans and the rest like all others.
pub fn router_with(app: Arc<App>, more: Router<Arc<App>>) -> Router {
    let (mut routes, _) = documented().split_for_parts();
    if app.config.metrics_addr.is_none() {
        routes = routes.merge(metrics());
    }
    let (ids, origins, figures) = (app.ids.clone(), app.config.cors_origins.clone(), app.metrics.clone());
    let tracer = app.tracer.clone();
    let routes = problem::fallbacks(routes.merge(documents()).merge(more));
    shell::wrap(routes.layer(from_fn(shell::note_route)).with_state(app), ids, origins, figures, tracer)
}
