//! What systemd wants to hear of a service of `Type=notify`: that it is ready, that it lives, that it stops (sd_notify(3)).
//!
//! A few datagrams to the socket that `NOTIFY_SOCKET` names; without one nothing is said.

use std::{
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    time::Duration,
};

/// The way to systemd.
pub(super) struct Systemd {
    socket: Option<UnixDatagram>,
    /// How often it wants a sign of life; the half of what it waits.
    watchdog: Option<Duration>,
}

fn open(name: &str) -> std::io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    socket.connect_addr(&address)?;
    // Nobody who does not read may hold the server up.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

impl Systemd {
    /// From the variables that systemd sets.
    pub(super) fn from_env(env: impl Iterator<Item = (String, String)>) -> Self {
        let (mut name, mut microseconds, mut pid) = (None, None, None);
        for (key, value) in env {
            match key.as_str() {
                "NOTIFY_SOCKET" => name = Some(value),
                "WATCHDOG_USEC" => microseconds = value.parse::<u64>().ok(),
                "WATCHDOG_PID" => pid = Some(value),
                _ => {}
            }
        }
        let socket = name.filter(|name| !name.is_empty()).and_then(|name| {
            open(&name).inspect_err(|e| tracing::warn!("systemd cannot be told anything: NOTIFY_SOCKET: {e}")).ok()
        });
        // A watchdog that waits for another process is none of ours.
        let ours = pid.is_none_or(|pid| pid == std::process::id().to_string());
        let watchdog = microseconds.filter(|n| *n > 0 && ours && socket.is_some());
        Self { socket, watchdog: watchdog.map(|n| Duration::from_micros(n / 2)) }
    }

    fn say(&self, words: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(e) = socket.send(words.as_bytes()) {
            tracing::debug!("systemd was not told {words:?}: {e}");
        }
    }

    /// Says that the server listens, gives signs of life until everything ends, and says when the stop begins.
    pub(super) async fn attend(self, tasks: crate::tasks::Tasks) {
        if self.socket.is_none() {
            return;
        }
        self.say("READY=1\nSTATUS=serving");
        let signs = async {
            let Some(period) = self.watchdog else { return std::future::pending().await };
            loop {
                self.say("WATCHDOG=1");
                tokio::time::sleep(period).await;
            }
        };
        let stopping = async {
            tasks.soft_stop().await;
            self.say("STOPPING=1\nSTATUS=stopping");
            tasks.hard_stop().await;
        };
        tokio::select! {
            () = signs => {}
            () = stopping => {}
        }
    }
}
