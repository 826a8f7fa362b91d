//! The server that is measured: one of our own, or one that runs already.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{Fallible, Options, http::Http, usage::Process};
use crate::{clock::Clock, ids::Ids};

const PASSWORD: &str = "correct horse battery";
/// How long a server may take to answer `/health`.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is asked.
const ASK_AGAIN: Duration = Duration::from_micros(200);

/// Someone with an account.
#[derive(Clone)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) token: Arc<str>,
    pub(super) refresh: String,
}

/// A process of our own, and the folder that it works in.
pub(super) struct Own {
    child: Child,
    folder: PathBuf,
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Which server, and how to see what it costs.
pub(super) struct Target {
    pub(super) addr: Arc<str>,
    pub(super) process: Option<Process>,
    own: Option<Own>,
    /// Distinguishes this run's names.
    run: String,
}

/// What a server of our own is started with.
#[derive(Clone, Copy)]
pub(super) struct Settings {
    pub(super) bcrypt_cost: u32,
    /// It agrees to compression.
    pub(super) compressed: bool,
}

impl Settings {
    /// Accounts are made by the hundred: their passwords are hashed at the least cost.
    pub(super) const CHEAP: Self = Self { bcrypt_cost: 4, compressed: false };
}

fn run_name() -> String {
    let id = Ids::new(Clock::System).uuid().simple().to_string();
    id[id.len() - 8..].to_owned()
}

fn free_port() -> Fallible<u16> {
    std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map(|addr| addr.port())
        .map_err(|e| format!("no free port on loopback: {e}"))
}

/// Starts this executable with a clean environment; `arguments` go to it.
fn launch(folder: &Path, arguments: &[&str], settings: &[(&str, String)]) -> Fallible<Child> {
    let exe = std::env::current_exe().map_err(|e| format!("this executable cannot be found: {e}"))?;
    let mut command = Command::new(&exe);
    command.env_clear().envs(settings.iter().map(|(name, value)| (*name, value)));
    begin(&mut command, folder, arguments)
}

fn begin(command: &mut Command, folder: &Path, arguments: &[&str]) -> Fallible<Child> {
    let started = command.args(arguments).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    started.map_err(|e| format!("{} cannot be started: {e}", command.get_program().display()))
}

fn make_folder() -> Fallible<PathBuf> {
    let folder = std::env::temp_dir().join(format!("mesh-bench-{}", run_name()));
    fs::create_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    Ok(folder)
}

/// Waits for the first 200 of `/health`.
async fn healthy(addr: &Arc<str>, own: &mut Own) -> Fallible<()> {
    let begun = Instant::now();
    loop {
        if let Ok((200, _)) = Http::new(addr).ask("GET", "/health", "", None).await {
            return Ok(());
        }
        if let Ok(Some(status)) = own.child.try_wait() {
            return Err(format!("the server ended at its start ({status})"));
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("the server did not answer within {} s", PATIENCE.as_secs()));
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

impl Target {
    /// The server that the options name, or one of our own.
    pub(super) async fn get(options: &Options, settings: Settings) -> Fallible<Self> {
        let Some(addr) = &options.addr else {
            return Self::start(make_folder()?, settings).await.map(|(target, _)| target);
        };
        let addr: Arc<str> = addr.as_str().into();
        Http::new(&addr).must("GET", "/health", "", None).await?;
        let process = options.pid.map(Process::new).transpose()?;
        Ok(Self { addr, process, own: None, run: run_name() })
    }

    /// Starts a server of our own in a folder; how long it took to answer.
    pub(super) async fn start(folder: PathBuf, settings: Settings) -> Fallible<(Self, Duration)> {
        let port = free_port()?;
        let begun = Instant::now();
        let child = launch(
            &folder,
            &[],
            &[
                ("MESH_HOST", "127.0.0.1".to_owned()),
                ("MESH_PORT", port.to_string()),
                ("MESH_BCRYPT_COST", settings.bcrypt_cost.to_string()),
                ("MESH_LOGIN_ATTEMPTS", "1000000".to_owned()),
                ("MESH_EVENTS_PER_SECOND", "1000000".to_owned()),
                ("MESH_WS_COMPRESSION", if settings.compressed { "on" } else { "off" }.to_owned()),
                ("LOG_LEVEL", "WARNING".to_owned()),
            ],
        )?;
        let mut own = Own { child, folder };
        let addr: Arc<str> = format!("127.0.0.1:{port}").into();
        healthy(&addr, &mut own).await?;
        let took = begun.elapsed();
        let process = Some(Process::new(own.child.id())?);
        Ok((Self { addr, process, own: Some(own), run: run_name() }, took))
    }

    /// Starts the bare broadcaster of [`super::limit`].
    pub(super) async fn start_limit() -> Fallible<Self> {
        let (folder, port) = (make_folder()?, free_port()?);
        let addr: Arc<str> = format!("127.0.0.1:{port}").into();
        let child = launch(&folder, &["bench", "--serve-limit", &addr], &[])?;
        let mut own = Own { child, folder };
        healthy(&addr, &mut own).await?;
        let process = Some(Process::new(own.child.id())?);
        Ok(Self { addr, process, own: Some(own), run: run_name() })
    }

    /// Starts a nats-server, as it is installed.
    pub(super) async fn start_nats(program: &Path) -> Fallible<Self> {
        let (folder, port) = (make_folder()?, free_port()?);
        let addr: Arc<str> = format!("127.0.0.1:{port}").into();
        let log = folder.join("log").display().to_string();
        let arguments = ["-a", "127.0.0.1", "-p", &port.to_string(), "-l", &log];
        let mut own = Own { child: begin(&mut Command::new(program), &folder, &arguments)?, folder };
        let begun = Instant::now();
        while tokio::net::TcpStream::connect(&*addr).await.is_err() {
            if let Ok(Some(status)) = own.child.try_wait() {
                return Err(format!("{} ended at its start ({status})", program.display()));
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("{} did not listen within {} s", program.display(), PATIENCE.as_secs()));
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
        let process = Some(Process::new(own.child.id())?);
        Ok(Self { addr, process, own: Some(own), run: run_name() })
    }

    /// Kills a server of our own and leaves its folder.
    pub(super) fn kill(mut self) -> Option<PathBuf> {
        let mut own = self.own.take()?;
        let _ = own.child.kill();
        let _ = own.child.wait();
        let folder = std::mem::take(&mut own.folder);
        // Nothing is left for it to take away.
        drop(own);
        Some(folder)
    }

    /// Registers an account; `name` is its part that others of this run don't have.
    pub(super) async fn account(&self, http: &mut Http, name: &str) -> Fallible<Account> {
        let name = format!("bench-{}-{name}", self.run);
        let body = json!({"username": name, "password": PASSWORD});
        let answer = http.must("POST", "/api/auth/register", "", Some(&body)).await?;
        let text = |field: &str| {
            let value = answer[field].as_str().map(str::to_owned);
            value.ok_or_else(|| format!("the registration was answered without {field}"))
        };
        Ok(Account { name, token: text("access_token")?.into(), refresh: text("refresh_token")? })
    }

    /// Registers as many accounts.
    pub(super) async fn accounts(&self, count: usize) -> Fallible<Vec<Account>> {
        let mut http = Http::new(&self.addr);
        let mut accounts = Vec::with_capacity(count);
        for index in 0..count {
            accounts.push(self.account(&mut http, &index.to_string()).await?);
        }
        Ok(accounts)
    }

    /// Makes a public room; its id.
    pub(super) async fn room(&self, http: &mut Http, token: &str, name: &str) -> Fallible<Arc<str>> {
        let body = json!({"name": format!("Bench {name}"), "visibility": "public"});
        let room = http.must("POST", "/api/rooms", token, Some(&body)).await?;
        room["id"].as_str().map(Into::into).ok_or_else(|| "a new room was answered without its id".to_owned())
    }

    /// A login's body.
    pub(super) fn login(account: &Account) -> serde_json::Value {
        json!({"username": account.name, "password": PASSWORD})
    }
}
