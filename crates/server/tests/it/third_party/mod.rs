//! Clients that were not written here: Python's `websockets` and PyJWT, npm's `ws`. `./test` installs them.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
};

use crate::kit::{Binary, Database, PATIENCE, skipped};

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

/// A conversation in whose middle the server is killed.
fn converse(command: Command) {
    let database = Database::new();
    let settings = [("MESH_JWT_SECRET", JWT_SECRET)];
    let server = Binary::start(&database, &settings);
    let mut command = command;
    command.arg(&server.base).env("MESH_TEST_JWT_SECRET", JWT_SECRET);
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
    let mut command = Command::new(python);
    command.arg(script("python/conversation.py"));
    converse(command);
}

#[test]
fn node_talks_through_a_kill() {
    if installed("MESH_TEST_NODE_MODULES").is_none() {
        return;
    }
    let mut command = Command::new("node");
    command.arg(script("node/conversation.mjs"));
    converse(command);
}
