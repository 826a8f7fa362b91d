//! Clients that were not written here: Python's `websockets` and PyJWT, npm's `ws`; coturn; Chromium. `./test` installs them.

mod browsers;
mod invites;
mod turn;

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
};

use serde_json::json;

use crate::kit::{Binary, Database, PATIENCE, Server, skipped};

const JWT_SECRET: &str = "a secret of more than thirty-two characters";

/// What an environment variable names.
fn installed(variable: &str) -> Option<PathBuf> {
    let found = std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    if found.is_none() {
        skipped("a conversation by clients not written here", variable);
    }
    found
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests").join(name).canonicalize().unwrap()
}

/// A script that talks, and is talked to by lines.
struct Script {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    complaints: PathBuf,
}

impl Script {
    fn start(mut command: Command, complaints: PathBuf) -> Self {
        let errors = File::create(&complaints).unwrap();
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                let _ = tell.send(line.unwrap());
            }
        });
        Self { child, input, lines, complaints }
    }

    /// Its next line.
    fn says(&mut self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap_or_else(|e| {
            let _ = self.child.kill();
            panic!("{e}: {}", std::fs::read_to_string(&self.complaints).unwrap())
        })
    }
}

/// Conversations in whose middle the server is killed: one as it is set by itself, one that is compressed.
fn converse(command: impl Fn() -> Command) {
    for compression in ["off", "on"] {
        converse_once(command(), compression);
    }
}

fn converse_once(command: Command, compression: &str) {
    let database = Database::new();
    let settings = [("MESH_JWT_SECRET", JWT_SECRET), ("MESH_WS_COMPRESSION", compression)];
    let server = Binary::start(&database, &settings);
    let mut command = command;
    command.arg(&server.base).env("MESH_TEST_JWT_SECRET", JWT_SECRET);
    command.env("MESH_TEST_COMPRESSION", compression);
    let mut script = Script::start(command, database.dir.path().join("complaints"));
    assert_eq!(script.says(), "talking");
    server.kill();
    let server = Binary::start(&database, &settings);
    writeln!(script.input, "{}", server.base).unwrap();
    let last = script.says();
    let messages: usize = last.strip_prefix("done ").unwrap().parse().unwrap();
    assert!(messages >= 400, "{messages} messages are no conversation");
    assert!(script.child.wait().unwrap().success());
    let (status, log) = server.stop();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn python_talks_through_a_kill() {
    let Some(python) = installed("MESH_TEST_PYTHON") else { return };
    converse(|| {
        let mut command = Command::new(&python);
        command.arg(script("python/conversation.py"));
        command
    });
}

#[test]
fn node_talks_through_a_kill() {
    if installed("MESH_TEST_NODE_MODULES").is_none() {
        return;
    }
    converse(|| {
        let mut command = Command::new("node");
        command.arg(script("node/conversation.mjs"));
        command
    });
}

/// Every algorithm's tokens are judged by PyJWT, with nothing but what `/.well-known/jwks.json` publishes, or the secret.
#[tokio::test(flavor = "multi_thread")]
async fn pyjwt_reads_the_tokens_of_every_algorithm() {
    let Some(python) = installed("MESH_TEST_PYTHON") else { return };
    for algorithm in ["HS256", "HS384", "HS512", "EdDSA", "ES256", "RS256"] {
        let database = Database::new();
        let key = database.dir.path().join("key.pem").display().to_string();
        let settings = [
            ("MESH_JWT_ALGORITHM", algorithm),
            ("MESH_JWT_SECRET", JWT_SECRET),
            ("MESH_JWT_PRIVATE_KEY_FILE", key.as_str()),
        ];
        let server = Server::start_on(database, &settings).await;
        let ana = server.register("ana").await;
        let room = server.room(&ana, "Cuisine").await;
        let ask = json!({"room_id": room, "capabilities": ["call"]});
        let (status, capability) = server.post("/api/auth/capability", &ana, ask).await;
        assert_eq!(status, 200, "{capability}");
        let given = json!({"access": ana.token, "capability": capability["capability_token"], "user": ana.id});
        let mut command = Command::new(&python);
        command.arg(script("python/tokens.py")).args([server.base.as_str(), algorithm]);
        command.env("MESH_TEST_JWT_SECRET", JWT_SECRET);
        let judged = tokio::task::spawn_blocking(move || {
            let mut child =
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(given.to_string().as_bytes()).unwrap();
            child.wait_with_output().unwrap()
        })
        .await
        .unwrap();
        let complaints = String::from_utf8_lossy(&judged.stderr);
        assert_eq!(String::from_utf8_lossy(&judged.stdout), "verified\n", "{algorithm}: {complaints}");
        server.stop().await;
    }
}

/// Prometheus' own parsers read the figures, in both formats.
#[tokio::test(flavor = "multi_thread")]
async fn prometheus_parsers_read_the_figures() {
    let Some(python) = installed("MESH_TEST_PYTHON") else { return };
    let server = Server::start().await;
    let ana = server.register("ana").await;
    let room = server.room(&ana, "Cuisine").await;
    let mut peer = server.peer(&ana).await;
    peer.join(&room).await;
    peer.say(&room, "Bonjour").await;
    let mut command = Command::new(&python);
    command.arg(script("python/metrics.py")).arg(&server.base);
    let read = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&read.stdout), "read\n", "{}", String::from_utf8_lossy(&read.stderr));
    server.stop().await;
}
