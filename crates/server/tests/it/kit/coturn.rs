//! coturn, a TURN server that was not written here, as a process of its own. `./test` installs it.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::{says, skipped};

/// Where `turnserver` stands; `turnutils_uclient` stands beside it.
const VARIABLE: &str = "MESH_TEST_TURNSERVER";

pub struct Coturn {
    child: Child,
    _dir: TempDir,
    program: PathBuf,
    pub address: SocketAddr,
}

/// What it asks for where a test says nothing else.
pub const WITH_SECRET: &[&str] =
    &["use-auth-secret", "static-auth-secret=north", "realm=mesh.test", "allow-loopback-peers"];

impl Coturn {
    /// Starts it with these lines of configuration; none where it is not installed.
    pub fn start(lines: &[&str]) -> Option<Self> {
        let Some(program) = std::env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from) else {
            skipped("what coturn says of our credentials", VARIABLE);
            return None;
        };
        // An address of its own: coturn shares ports, so that two on one would both answer.
        let [_, a, b, c, ..] = *uuid::Uuid::new_v4().as_bytes();
        let ip = IpAddr::V4(Ipv4Addr::new(127, a | 1, b, c | 1));
        Some(Self::start_at(program, ip, lines))
    }

    fn start_at(program: PathBuf, ip: IpAddr, lines: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let port = UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap().port();
        let place = |name: &str| dir.path().join(name).display().to_string();
        let mut text = format!(
            "listening-ip={ip}\nrelay-ip={ip}\nlistening-port={port}\nfingerprint\nno-tls\nno-dtls\nno-cli\n\
             log-file=stdout\nsimple-log\npidfile={}\nuserdb={}\n",
            place("pid"),
            place("users")
        );
        for line in lines {
            text.push_str(line);
            text.push('\n');
        }
        let settings = dir.path().join("turnserver.conf");
        std::fs::write(&settings, text).unwrap();
        let mut command = Command::new(&program);
        command.arg("-c").arg(&settings).current_dir(dir.path()).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let log = child.stdout.take().unwrap();
        // The listeners are open before the threads that relay begin.
        let begun = says(log, "Total General servers");
        assert!(begun.is_ok(), "coturn does not start: {begun:?}");
        Self { child, _dir: dir, program, address: SocketAddr::new(ip, port) }
    }

    /// coturn's own client.
    pub fn client(&self) -> Command {
        Command::new(self.program.parent().unwrap_or(Path::new("")).join("turnutils_uclient"))
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
