//! The flat list of routes. Each has its OpenAPI entry beside its handler.

use std::sync::Arc;

use axum::{
    Extension, Router,
    handler::Handler,
    middleware::from_fn,
    response::Redirect,
    routing::{MethodRouter, get},
};
use utoipa_axum::{PathItemExt, paste, router::OpenApiRouter, routes};

use super::{
    admin, auth, bans, docs, export, farewell, invite_pages, members, messages, notifications, openapi, problem,
    room_invites, rooms, search, server, sessions,
    shell::{self, Shell},
    tokens, totp,
};
use crate::app::App;

/// Makes of one list what is served, and what is told of it. The document is made when somebody asks for it: a start need not
/// wait for it, nor keep its memory.
macro_rules! list {
    ($($($module:ident :: $handler:ident),+;)+) => {
        /// Every documented route, with its part of the document.
        pub(super) fn documented() -> OpenApiRouter<Arc<App>> {
            OpenApiRouter::with_openapi(openapi::base())$(.routes(routes!($($module::$handler),+)))+
        }

        /// The same routes, to be served.
        fn served() -> Router<Arc<App>> {
            let routes = Router::new();
            $($(
                let routes = paste! {
                    add::<$module::[<__path_ $handler>], _, _>(routes, $module::$handler)
                };
            )+)+
            routes
        }
    };
}

/// Adds a handler where its own description says.
fn add<P: utoipa::Path, T: 'static, H: Handler<T, Arc<App>>>(routes: Router<Arc<App>>, handler: H) -> Router<Arc<App>> {
    let methods = P::methods();
    let each = methods.iter().map(PathItemExt::to_method_filter);
    let all = each.fold(MethodRouter::new(), |router, method| router.on(method, handler.clone()));
    routes.route(&P::path(), all)
}

list! {
    auth::register;
    auth::login;
    totp::login_totp;
    auth::get_me, sessions::update_me, farewell::delete_me;
    sessions::refresh;
    sessions::logout;
    sessions::change_password;
    sessions::list_sessions;
    sessions::delete_session;
    sessions::ws_ticket;
    sessions::capability;
    totp::get_totp, totp::begin_totp, totp::disable_totp;
    totp::confirm_totp;
    tokens::create_token, tokens::list_tokens;
    tokens::delete_token;
    rooms::create_room, rooms::list_rooms;
    rooms::open_direct_room;
    rooms::get_room, rooms::update_room, rooms::delete_room;
    rooms::join_room;
    members::list_members, members::add_member;
    members::update_member, members::remove_member;
    bans::list_bans;
    bans::get_ban, bans::put_ban, bans::delete_ban;
    room_invites::create_invite, room_invites::list_invites;
    room_invites::delete_invite;
    room_invites::accept_invite;
    messages::list_messages, messages::post_message;
    search::search_messages;
    export::export_room;
    messages::edit_message, messages::delete_message;
    messages::add_reaction, messages::remove_reaction;
    messages::mark_read;
    admin::list_users, admin::create_user;
    admin::get_user, admin::update_user, farewell::delete_user;
    admin::reset_totp;
    admin::get_stats;
    admin::list_audit;
    admin::create_registration_invite, admin::list_registration_invites;
    admin::delete_registration_invite;
    notifications::get_notifications, notifications::set_notifications;
    notifications::get_gotify, notifications::set_gotify, notifications::remove_gotify;
    notifications::test_gotify;
    notifications::get_room_notifications, notifications::set_room_notifications;
    notifications::list_outbox;
    notifications::delete_outbox;
    notifications::requeue_outbox;
    server::get_info;
    server::ice_servers;
    server::jwks;
    server::health;
    server::ready;
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
pub fn metrics_site(app: Arc<App>) -> Arc<Shell> {
    around(metrics(), app)
}

/// The whole HTTP side of a server. `more` routes (the WebSocket's) get request ids, log spans and the rest like all others.
pub fn site(app: Arc<App>, more: Router<Arc<App>>) -> Arc<Shell> {
    let mut routes = served();
    if app.config.metrics_addr.is_none() {
        routes = routes.merge(metrics());
    }
    around(routes.merge(documents()).merge(more), app)
}

fn around(routes: Router<Arc<App>>, app: Arc<App>) -> Arc<Shell> {
    let (ids, origins, figures) = (app.ids.clone(), app.config.cors_origins.clone(), app.metrics.clone());
    let tracer = app.tracer.clone();
    let routes = problem::fallbacks(routes).layer(from_fn(shell::note_route)).with_state(app);
    Shell::new(routes, ids, origins, figures, tracer)
}
