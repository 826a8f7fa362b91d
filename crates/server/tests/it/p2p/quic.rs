//! The example `quic_file`: two processes, one file, and a server that only introduces them.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, sync_channel},
};

use serde_json::json;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::kit::{Binary, Database, PATIENCE, http};

/// The example's binary, which is built with everything else: `cargo build --workspace --all-targets`.
fn example() -> PathBuf {
    let path = Path::new(crate::kit::EXE).with_file_name("examples").join("quic_file");
    assert!(path.exists(), "{} is not built: cargo build --workspace --all-targets", path.display());
    path
}

/// An agent, and what it says.
struct Agent {
    child: Child,
    lines: Receiver<String>,
    stdin: Option<ChildStdin>,
    errors: PathBuf,
}

impl Agent {
    fn start(name: &str, dir: &Path, base: &str, token: &str, arguments: &[&str]) -> Self {
        let errors = dir.join(format!("{name}.errors"));
        let mut child = Command::new(example())
            .args(["--server", base])
            .args(arguments)
            .env_clear()
            .env("MESH_TOKEN", token)
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&errors).unwrap())
            .spawn()
            .unwrap();
        let (tell, lines) = sync_channel(64);
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let stdin = child.stdin.take();
        Self { child, lines, stdin, errors }
    }

    /// The next line, which begins with this word; what stands behind it.
    fn says(&self, word: &str) -> String {
        let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|e| {
            let errors = std::fs::read_to_string(&self.errors).unwrap();
            panic!("waited in vain for {word:?} ({e}): {errors}")
        });
        let rest = line.strip_prefix(word).unwrap_or_else(|| panic!("expected {word:?}, got {line:?}"));
        rest.trim().to_owned()
    }

    fn go(&mut self) {
        writeln!(self.stdin.as_mut().unwrap()).unwrap();
    }

    /// Its end: whether it is content, and what it complains of.
    fn ends(mut self) -> (bool, String) {
        // It says no more once it has ended.
        while self.lines.recv_timeout(PATIENCE).is_ok() {}
        let status = self.child.wait().unwrap();
        (status.success(), std::fs::read_to_string(&self.errors).unwrap())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two agents with tokens of their own, and a session that stands between them. The one who sends waits.
struct Stage {
    server: Binary,
    dir: TempDir,
    sender: Agent,
    receiver: Agent,
    ana: String,
    room: String,
    ben_id: String,
    sum: String,
    /// It goes last.
    database: Database,
}

async fn post(base: &str, path: &str, token: &str, body: serde_json::Value) -> serde_json::Value {
    let request = http().build().unwrap().post(format!("{base}{path}")).bearer_auth(token).json(&body);
    let response = request.send().await.unwrap();
    assert!(response.status().is_success(), "{path}: {}", response.text().await.unwrap());
    response.json().await.unwrap()
}

async fn stage() -> Stage {
    let database = Database::new();
    let server = Binary::start(&database, &[("MESH_JWT_ALGORITHM", "EdDSA")]);
    let base = server.base.clone();
    let mut people = Vec::new();
    for name in ["ana", "ben"] {
        let account = json!({"username": name, "password": "correct horse battery"});
        let account = post(&base, "/api/auth/register", "", account).await;
        let token = account["access_token"].as_str().unwrap().to_owned();
        let agent = json!({"name": "agent", "scopes": ["rtc"]});
        let agent = post(&base, "/api/auth/tokens", &token, agent).await["token"].as_str().unwrap().to_owned();
        people.push((token, agent, account["user"]["id"].as_str().unwrap().to_owned()));
    }
    let [(ana, sends, _), (_, receives, ben_id)] = <[_; 2]>::try_from(people).unwrap();
    let room = post(&base, "/api/rooms", &ana, json!({"name": "Atelier"})).await["id"].as_str().unwrap().to_owned();
    post(&base, &format!("/api/rooms/{room}/members"), &ana, json!({"username": "ben"})).await;

    let dir = TempDir::new().unwrap();
    // Three million bytes that don't repeat.
    let content: Vec<u8> = (0..93_750_u32).flat_map(|n| Sha256::digest(n.to_be_bytes())).collect();
    std::fs::write(dir.path().join("film.bin"), &content).unwrap();
    std::fs::create_dir(dir.path().join("in")).unwrap();
    let sum = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
    let receive = ["receive", "--into", "in", "--peer-id", "workshop"];
    let receiver = Agent::start("receiver", dir.path(), &base, &receives, &receive);
    assert_eq!(receiver.says("ready"), "workshop");
    let send = ["send", "--room", &room, "--to", "workshop", "--wait", "film.bin"];
    let sender = Agent::start("sender", dir.path(), &base, &sends, &send);
    assert_eq!(receiver.says("created"), sender.says("created"));
    Stage { server, dir, sender, receiver, ana, room, ben_id, sum, database }
}

fn arrives(mut sender: Agent, receiver: Agent, dir: &Path, sum: &str) {
    sender.go();
    assert_eq!(sender.says("sent"), sum);
    assert_eq!(receiver.says("received"), format!("film.bin {sum}"));
    for agent in [sender, receiver] {
        let (content, errors) = agent.ends();
        assert!(content, "{errors}");
    }
    let arrived = std::fs::read(dir.join("in/film.bin")).unwrap();
    assert_eq!(Sha256::digest(arrived), Sha256::digest(std::fs::read(dir.join("film.bin")).unwrap()));
    assert_eq!(std::fs::read_dir(dir.join("in")).unwrap().count(), 1, "nothing half-written is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_from_agent_to_agent() {
    let Stage { server, sender, receiver, dir, sum, database, .. } = stage().await;
    arrives(sender, receiver, dir.path(), &sum);
    server.stop();
    drop(database);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_so_with_the_server_killed() {
    let Stage { server, sender, receiver, dir, sum, database, .. } = stage().await;
    server.kill();
    arrives(sender, receiver, dir.path(), &sum);
    drop(database);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_not_once_one_of_them_was_put_out() {
    let Stage { server, dir, mut sender, receiver, ana, room, ben_id, database, .. } = stage().await;
    let url = format!("{}/api/rooms/{room}/members/{ben_id}", server.base);
    let kicked = http().build().unwrap().delete(url).bearer_auth(&ana).send().await.unwrap();
    assert_eq!(kicked.status().as_u16(), 204);
    let (content, errors) = receiver.ends();
    assert!(!content && errors.contains("the session was closed: member_removed"), "{errors}");
    sender.go();
    let (content, errors) = sender.ends();
    assert!(!content && errors.contains("the session was closed: member_removed"), "{errors}");
    assert_eq!(std::fs::read_dir(dir.path().join("in")).unwrap().count(), 0);
    server.stop();
    drop(database);
}
