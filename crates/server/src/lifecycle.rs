//! A server's life: open, listen, serve, stop in order.

mod front;

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use axum::{Router, routing::get};
use tokio::net::{TcpListener, TcpSocket};

use self::front::{Front, WEBSOCKET};
use crate::{
    app::App,
    bus,
    clock::Clock,
    config::{Config, load_or_create_secret},
    http,
    ids::Ids,
    keys::Keys,
    push::Push,
    realtime::{hub::Hub, upgrade::upgrade},
    service::auth::Callers,
    store::{Db, backup, migrate},
    tasks::Tasks,
    tls::Tls,
    worker,
};

/// Connections that may wait to be accepted; Linux allows as many by default (`net.core.somaxconn`). Where thousands come
/// back at once, whoever finds no place tries again a second later, or three.
const BACKLOG: u32 = 4_096;
/// A wall clock that is off by more than this against time passed has been moved, milliseconds.
const CLOCK_JUMP_MS: i64 = 2_000;
/// How often the store's threads are looked after.
const WATCH: Duration = Duration::from_secs(1);

/// A server that listens.
pub struct Server {
    /// What it holds.
    pub app: Arc<App>,
    /// Its connections.
    pub hub: Arc<Hub>,
    /// Where it listens.
    pub addr: SocketAddr,
    /// Where it tells its figures, if not there.
    pub metrics_addr: Option<SocketAddr>,
    /// Its certificate, where it speaks TLS.
    pub tls: Option<Arc<Tls>>,
}

/// Opens the database, brings it up to date, and listens.
///
/// # Errors
/// A sentence for the operator: what cannot be opened, and why.
pub async fn start(config: Config, clock: Clock) -> Result<Server, String> {
    let tls = Tls::load(&config).map_err(|e| e.to_string())?;
    let (secret, warning) = load_or_create_secret(&config).map_err(|e| e.to_string())?;
    if let Some(warning) = warning {
        tracing::warn!("{warning}");
    }
    let ids = Ids::new(clock.clone());
    let keys = Keys::load(&config, &secret, &ids)?;
    let tasks = Tasks::default();
    let (tell, happenings) = bus::local();
    let callers = Arc::new(Callers::new());
    let believed = callers.clone();
    let early: Arc<OnceLock<Weak<Hub>>> = Arc::default();
    let listening = early.clone();
    let early_push: Arc<OnceLock<Arc<Push>>> = Arc::default();
    let woken = early_push.clone();
    let sink: bus::Sender = Arc::new(move |happenings| {
        if let Some(push) = woken.get() {
            push.hear(&happenings);
        }
        believed.hear(&happenings);
        if let Some(hub) = listening.get().and_then(Weak::upgrade) {
            hub.hear(&happenings);
        }
        tell(happenings);
    });
    let url = config.database_url.clone();
    let opened = tasks.blocking(move || Db::open(&url, sink)).await;
    let db = opened.ok_or("opening the database panicked; the log says where")??;
    let now = clock.now_ms();
    let applied = db.write(0, move |tx| migrate::up(tx, now)).await.map_err(|e| e.for_operator())?;
    if !applied.is_empty() {
        tracing::info!(migrations = applied.join(", "), "the database was brought up to date");
    }
    if config.gotify_url.is_none() && config.ntfy_url.is_none() {
        tracing::info!("push is off: GOTIFY_URL is not set");
    }
    let (host, port) = (config.host, config.port);
    let app = App::new(config, keys, ids, clock, db, callers, tasks)?;
    if app.push.is_on() {
        // Only this line sets it.
        let _ = early_push.set(app.push.clone());
    }
    let hub = Hub::start(app.clone(), happenings);
    // Only this line sets it.
    let _ = early.set(Arc::downgrade(&hub));
    worker::start(&app)?;
    let (listener, addr) = listen(SocketAddr::from((host, port))).await?;
    let metrics_addr = match app.config.metrics_addr {
        Some(wanted) => Some(serve_metrics(&app, wanted).await?),
        None => None,
    };
    let websocket = Router::new().route(WEBSOCKET, get(upgrade).with_state(hub.clone()));
    let site = http::site(app.clone(), websocket);
    let front = Front { site, hub: Some(hub.clone()), tls: tls.clone(), tasks: app.tasks.clone() };
    app.tasks.spawn("accept", front.accept(listener));
    if let Some(tls) = tls.clone() {
        let tasks = app.tasks.clone();
        app.tasks.spawn("certificate", tls.watch(tasks));
    }
    let (watching, hub_watched) = (app.clone(), hub.clone());
    app.tasks.spawn("watch", async move {
        let (began, began_ms) = (tokio::time::Instant::now(), watching.clock.now_ms());
        let drift = |clock: &Clock| {
            let passed = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
            clock.now_ms().saturating_sub(began_ms).saturating_sub(passed)
        };
        let mut known = 0;
        loop {
            tokio::select! {
                () = tokio::time::sleep(WATCH) => {}
                () = watching.tasks.hard_stop() => break,
            }
            let jump_ms = drift(&watching.clock) - known;
            if jump_ms.abs() > CLOCK_JUMP_MS {
                known += jump_ms;
                tracing::warn!(jump_ms, "the wall clock was moved");
                hub_watched.clock_moved();
            }
            // Whoever keeps work away from a server that is not ready must not keep it so.
            if watching.db.figures().trouble().is_some() {
                watching.db.probe();
            }
            if watching.db.failed() {
                tracing::error!("a thread of the store died; the server stops");
                watching.tasks.fail();
                break;
            }
        }
    });
    tracing::info!(%addr, version = crate::service::info::VERSION, tls = tls.is_some(), "listening");
    Ok(Server { app, hub, addr, metrics_addr, tls })
}

async fn listen(wanted: SocketAddr) -> Result<(TcpListener, SocketAddr), String> {
    let cannot = |e: std::io::Error| format!("cannot listen on {wanted}: {e}");
    let socket = if wanted.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(cannot)?;
    // As `TcpListener::bind` does: a server that was restarted gets its port back at once.
    #[cfg(unix)]
    socket.set_reuseaddr(true).map_err(cannot)?;
    socket.bind(wanted).map_err(cannot)?;
    let listener = socket.listen(BACKLOG).map_err(cannot)?;
    let addr = listener.local_addr().map_err(|e| format!("cannot tell where it listens: {e}"))?;
    Ok((listener, addr))
}

/// Tells the figures on a port of their own.
async fn serve_metrics(app: &Arc<App>, wanted: SocketAddr) -> Result<SocketAddr, String> {
    let (listener, addr) = listen(wanted).await.map_err(|e| format!("MESH_METRICS_ADDR: {e}"))?;
    let front = Front { site: http::metrics_site(app.clone()), hub: None, tls: None, tasks: app.tasks.clone() };
    app.tasks.spawn("metrics", front.accept(listener));
    tracing::info!(%addr, "metrics are told here");
    Ok(addr)
}

impl Server {
    /// Waits until somebody stops the house, then ends everything in order: no new connections, goodbye to those who
    /// are here, what was submitted is committed. Whether all went well.
    pub async fn run(self) -> bool {
        let tasks = self.app.tasks.clone();
        tasks.soft_stop().await;
        tracing::info!(connections = self.hub.connections(), "stopping");
        let patience = Duration::from_secs(u64::from(self.app.config.shutdown_seconds));
        let in_order = async {
            tasks.clients_ended().await;
            self.app.db.settled().await;
        };
        if tokio::time::timeout(patience, in_order).await.is_err() {
            tracing::warn!("some connections did not end in time");
            self.app.db.settled().await;
        }
        tasks.stop_hard();
        tasks.house_ended().await;
        let url = self.app.config.database_url.clone();
        if let Some(Err(why)) = tasks.blocking(move || backup::fold_log(&url)).await {
            tracing::warn!("what was written last stands in the database's log, beside its file: {why}");
        }
        tracing::info!("stopped");
        !tasks.has_failed()
    }
}
