//! The real binary, as a process of its own.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Condvar, Mutex,
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
};

use super::{Database, PATIENCE};

pub const EXE: &str = env!("CARGO_BIN_EXE_mesh-server");

pub struct Binary {
    child: Child,
    pub base: String,
    log: Arc<Log>,
    /// Says nothing; hangs up when the log's pipe does, which is when the process ends.
    ended: Receiver<()>,
}

#[derive(Default)]
struct Log {
    text: Mutex<String>,
    grown: Condvar,
}

/// Where a server says that it listens, in either format of its log.
fn address(line: &str) -> Option<String> {
    let addr = match serde_json::from_str::<serde_json::Value>(line) {
        Ok(event) if event["message"] == "listening" => event["addr"].as_str()?.to_owned(),
        Ok(_) => return None,
        Err(_) => line.split_once(": listening addr=")?.1.split(' ').next()?.to_owned(),
    };
    Some(addr.replace("0.0.0.0:", "127.0.0.1:"))
}

impl Binary {
    /// The binary with a clean environment, working in `dir`.
    pub fn command(dir: &Path) -> Command {
        let mut command = Command::new(EXE);
        command.current_dir(dir).env_clear().stdin(Stdio::null());
        command
    }

    /// Starts a server on a database and waits until it listens.
    pub fn start(database: &Database, settings: &[(&str, &str)]) -> Self {
        let mut command = Self::command(database.dir.path());
        command.envs([
            ("MESH_HOST", "127.0.0.1"),
            ("MESH_PORT", "0"),
            ("MESH_BCRYPT_COST", "4"),
            ("MESH_EVENTS_PER_SECOND", "100000"),
            ("MESH_LOG_FORMAT", "json"),
            ("DATABASE_URL", database.url.as_str()),
        ]);
        command.envs(settings.iter().copied());
        Self::spawn(command)
    }

    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Log::default());
        let (tell, told) = channel();
        let (alive, ended) = channel::<()>();
        let stderr = child.stderr.take().unwrap();
        let lines = log.clone();
        std::thread::spawn(move || {
            let _alive = alive;
            for line in BufReader::new(stderr).lines() {
                let Ok(line) = line else { break };
                if let Some(addr) = address(&line) {
                    let _ = tell.send(addr);
                }
                let mut text = lines.text.lock().unwrap();
                text.push_str(&line);
                text.push('\n');
                lines.grown.notify_all();
            }
        });
        match told.recv_timeout(PATIENCE) {
            Ok(addr) => Self { child, base: format!("http://{addr}"), log, ended },
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                panic!("the server does not listen: {}", log.text.lock().unwrap());
            }
        }
    }

    /// Waits until the log holds these words.
    pub fn wait_for_log(&self, words: &str) {
        let text = self.log.text.lock().unwrap();
        let (text, waited) = self.log.grown.wait_timeout_while(text, PATIENCE, |text| !text.contains(words)).unwrap();
        assert!(!waited.timed_out(), "waited in vain for {words:?} in {text}");
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Kills it as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end; its status and its log.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let ended = self.ended.recv_timeout(PATIENCE);
        assert_ne!(ended, Err(RecvTimeoutError::Timeout), "it does not end: {}", self.log.text.lock().unwrap());
        let status = self.child.wait().unwrap();
        let log = self.log.text.lock().unwrap().clone();
        (status, log)
    }

    /// SIGTERM, and all that comes of it.
    pub fn stop(self) -> (ExitStatus, String) {
        self.signal("TERM");
        self.wait()
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command to its end: status, standard output, standard error.
pub fn output(mut command: Command) -> (Option<i32>, String, String) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut out, mut errors) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let (mut said, mut complained) = (String::new(), String::new());
        let reader = std::thread::spawn(move || {
            errors.read_to_string(&mut complained).unwrap();
            complained
        });
        out.read_to_string(&mut said).unwrap();
        let _ = tell.send((said, reader.join().unwrap()));
    });
    match told.recv_timeout(PATIENCE) {
        Ok((said, complained)) => (child.wait().unwrap().code(), said, complained),
        Err(_) => {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{command:?} does not end: {:?}", told.recv());
        }
    }
}
