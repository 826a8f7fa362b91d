//! What systemd hears, through a socket like its own.

use std::{
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    process::Command,
};

use tempfile::TempDir;

use super::repository;
use crate::kit::{Binary, Database, PATIENCE};

/// The next word that the server says, and what it says with it.
fn heard(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 4096];
    let n = socket.recv(&mut bytes).expect("systemd would wait in vain");
    String::from_utf8(bytes[..n].to_vec()).unwrap()
}

fn first(words: &str) -> &str {
    words.lines().next().unwrap_or_default()
}

#[test]
fn systemd_hears_of_start_life_and_stop() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("notify");
    let name = format!("mesh-test-{}", uuid::Uuid::new_v4());
    let sockets = [
        (path.display().to_string(), UnixDatagram::bind(&path).unwrap()),
        (format!("@{name}"), UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap()),
    ];
    for (place, socket) in sockets {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let database = Database::new();
        let server = Binary::start(&database, &[("NOTIFY_SOCKET", &place), ("WATCHDOG_USEC", "100000")]);
        assert_eq!(first(&heard(&socket)), "READY=1");
        for _ in 0..3 {
            assert_eq!(heard(&socket), "WATCHDOG=1");
        }
        server.signal("TERM");
        let stopping = std::iter::repeat_with(|| heard(&socket)).find(|words| words != "WATCHDOG=1").unwrap();
        assert_eq!(first(&stopping), "STOPPING=1");
        let (status, log) = server.wait();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(!log.contains("NOTIFY_SOCKET") && !log.contains("WATCHDOG"), "{log}");
    }
}

#[test]
fn nobody_is_told_what_was_not_asked() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let place = path.display().to_string();
    let database = Database::new();
    // The watchdog waits for another process: it gets no sign of life from this one.
    let settings = [("NOTIFY_SOCKET", place.as_str()), ("WATCHDOG_USEC", "2"), ("WATCHDOG_PID", "1")];
    let server = Binary::start(&database, &settings);
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(first(&heard(&socket)), "READY=1");
    server.signal("TERM");
    assert_eq!(first(&heard(&socket)), "STOPPING=1");
    assert_eq!(server.wait().0.code(), Some(0));

    // A socket that is gone is a warning, and no reason not to serve.
    drop(socket);
    std::fs::remove_file(&path).unwrap();
    let server = Binary::start(&database, &[("NOTIFY_SOCKET", &place)]);
    let (status, log) = server.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("NOTIFY_SOCKET"), "{log}");
}

#[test]
fn the_unit_says_nothing_that_systemd_does_not_know() {
    let unit = repository("deploy/mesh-server.service");
    let text = std::fs::read_to_string(&unit).unwrap();
    for wanted in ["Type=notify", "WatchdogSec=", "User=mesh-server", "ProtectSystem=strict", "NoNewPrivileges=yes"] {
        assert!(text.lines().any(|line| line.starts_with(wanted)), "{wanted}");
    }
    let Some(analyze) = std::env::var_os("MESH_TEST_SYSTEMD_ANALYZE").filter(|path| !path.is_empty()) else {
        return crate::kit::skipped("what systemd says of the unit", "MESH_TEST_SYSTEMD_ANALYZE");
    };
    // The program that the unit starts must be there: this one.
    let dir = TempDir::new().unwrap();
    let copy = dir.path().join("mesh-server.service");
    std::fs::write(&copy, text.replace("/usr/bin/mesh-server", crate::kit::EXE)).unwrap();
    let judged = Command::new(&analyze).arg("verify").arg(&copy).output().unwrap();
    let words = String::from_utf8_lossy(&judged.stderr);
    let ours: Vec<&str> =
        words.lines().filter(|line| line.contains(".service:") && !line.contains("Command 'man")).collect();
    assert!(ours.is_empty(), "{words}");
    // What an attacker who took the service over could still do, from 0 to 10: more than now is a step back.
    let rated =
        Command::new(&analyze).args(["security", "--offline=true", "--threshold=20"]).arg(&copy).output().unwrap();
    assert!(rated.status.success(), "{}", String::from_utf8_lossy(&rated.stdout));
}
