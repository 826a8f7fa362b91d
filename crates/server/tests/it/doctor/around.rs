//! The doctor and proxies, databases, Gotify, files: small stand-ins that do what goes wrong.

use std::{
    fs,
    io::{BufReader, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    sync::{Arc, OnceLock},
};

use tempfile::TempDir;

use super::Visit;
use crate::kit::{Binary, Database, output, skipped};

/// What a proxy does to requests.
#[derive(Clone, Copy, PartialEq)]
enum Does {
    PassAll,
    StripUpgrade,
    StripAuthorization,
    Redirect,
    BadGateway,
}

/// A reverse proxy with a port that is known before its server's.
struct Proxy {
    url: String,
    upstream: Arc<OnceLock<String>>,
}

/// The lines of a request's or an answer's head, without the empty one; none at the end of the stream.
fn head(from: &mut impl std::io::BufRead) -> Option<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if from.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => return Some(lines),
            line => lines.push(line.to_owned()),
        }
    }
}

fn is(line: &str, name: &str) -> bool {
    line.split_once(':').is_some_and(|(n, _)| n.eq_ignore_ascii_case(name))
}

fn pipe(mut from: impl std::io::Read, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

fn pass(does: Does, client: TcpStream, upstream: &str) -> Option<()> {
    let mut reader = BufReader::new(client.try_clone().ok()?);
    let mut lines = head(&mut reader)?;
    let answer = match does {
        Does::Redirect => Some("301 Moved Permanently\r\nLocation: https://elsewhere.example/"),
        Does::BadGateway => Some("502 Bad Gateway"),
        _ => None,
    };
    let mut back = client.try_clone().ok()?;
    if let Some(answer) = answer {
        return write!(back, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").ok();
    }
    let upgrades = does != Does::StripUpgrade && lines.iter().any(|line| is(line, "upgrade"));
    if does == Does::StripAuthorization {
        lines.retain(|line| !is(line, "authorization"));
    }
    if !upgrades {
        // One request a connection, so that each head is seen.
        lines.retain(|line| !is(line, "upgrade") && !is(line, "connection"));
        lines.push("Connection: close".to_owned());
    }
    let mut server = TcpStream::connect(upstream).ok()?;
    write!(server, "{}\r\n\r\n", lines.join("\r\n")).ok()?;
    let from_server = server.try_clone().ok()?;
    let there = std::thread::spawn(move || pipe(reader, server));
    pipe(from_server, back);
    let _ = client.shutdown(Shutdown::Both);
    there.join().ok()
}

impl Proxy {
    fn start(does: Does) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let upstream = Arc::new(OnceLock::<String>::new());
        let to = upstream.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let to = to.get().cloned().unwrap_or_default();
                std::thread::spawn(move || pass(does, client, &to));
            }
        });
        Self { url, upstream }
    }

    /// A server behind it.
    fn server(&self, database: &Database) -> Binary {
        let server = Binary::start(database, &[("MESH_PUBLIC_URL", self.url.as_str())]);
        self.upstream.set(server.base.trim_start_matches("http://").to_owned()).unwrap();
        server
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn all_is_well_around_a_server_behind_a_good_proxy() {
    let (proxy, database) = (Proxy::start(Does::PassAll), Database::new());
    let server = proxy.server(&database);
    let settings = [("MESH_PUBLIC_URL", proxy.url.as_str()), ("DATABASE_URL", database.url.as_str())];
    let visit = Visit::pay(database.dir.path(), &settings);
    assert_eq!(visit.status, Some(0), "{}", visit.printed);
    assert!(visit.ok("public_url").contains("it has this machine's secret"), "{}", visit.printed);
    for name in ["websocket", "database", "database_writable", "database_migrated", "clock", "secret_files"] {
        visit.ok(name);
    }
    for (name, variable) in [("turn_udp", "TURN_HOST"), ("turn_tcp", "TURN_HOST"), ("gotify", "GOTIFY_URL")] {
        assert!(visit.skipped(name).contains(variable));
    }
    let secret = fs::read_to_string(database.dir.path().join("mesh.secret")).unwrap();
    assert!(!visit.printed.contains(secret.trim()));

    let mut command = Binary::command(database.dir.path());
    command.arg("doctor").envs(settings);
    let (status, said, complained) = output(command);
    assert_eq!((status, complained.as_str()), (Some(0), ""), "{said}");
    assert!(said.contains("ok       websocket") && said.contains("skipped  gotify"), "{said}");
    server.stop();
}

#[test]
fn a_proxy_that_strips_the_upgrade_is_found() {
    let (proxy, database) = (Proxy::start(Does::StripUpgrade), Database::new());
    let server = proxy.server(&database);
    let settings = [("MESH_PUBLIC_URL", proxy.url.as_str()), ("DATABASE_URL", database.url.as_str())];
    let visit = Visit::pay(database.dir.path(), &settings);
    visit.failed("websocket", "a proxy on the way takes it out");
    assert_eq!(visit.failures(), ["websocket"], "{}", visit.printed);

    let mut command = Binary::command(database.dir.path());
    command.arg("doctor").envs(settings);
    let (status, said, complained) = output(command);
    assert_eq!(status, Some(1));
    assert!(said.contains("FAILED   websocket") && said.contains("proxy_set_header Upgrade"), "{said}");
    assert!(complained.contains("1 of 10 checks failed"), "{complained}");
    server.stop();
}

#[test]
fn other_faults_of_a_proxy_are_told_apart() {
    for (does, words) in [
        (Does::StripAuthorization, "takes the header Authorization away"),
        (Does::Redirect, "redirects to https://elsewhere.example/"),
        (Does::BadGateway, "the server behind it does not"),
    ] {
        let (proxy, database) = (Proxy::start(does), Database::new());
        let server = proxy.server(&database);
        let settings = [("MESH_PUBLIC_URL", proxy.url.as_str()), ("DATABASE_URL", database.url.as_str())];
        let visit = Visit::pay(database.dir.path(), &settings);
        visit.failed("public_url", words);
        visit.ok("database_writable");
        server.stop();
    }
}

#[test]
fn another_server_behind_the_public_url_is_found() {
    let (proxy, theirs, ours) = (Proxy::start(Does::PassAll), Database::new(), Database::new());
    let server = proxy.server(&theirs);
    Binary::start(&ours, &[]).stop();
    let settings = [("MESH_PUBLIC_URL", proxy.url.as_str()), ("DATABASE_URL", ours.url.as_str())];
    let visit = Visit::pay(ours.dir.path(), &settings);
    visit.failed("public_url", "with another secret");
    assert_eq!(visit.failures(), ["public_url"], "{}", visit.printed);
    server.stop();
}

#[test]
fn a_dead_port_and_a_missing_database_are_found_and_nothing_is_made() {
    let dir = TempDir::new().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let visit = Visit::pay(dir.path(), &[("MESH_PUBLIC_URL", &url), ("MESH_JWT_ALGORITHM", "EdDSA")]);
    visit.failed("public_url", "cannot be reached from here");
    visit.failed("websocket", "cannot be reached from here");
    visit.failed("database", "there is no file ./mesh.db");
    for name in ["database_writable", "database_migrated", "clock", "secret_files", "turn_udp", "gotify"] {
        visit.skipped(name);
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "the doctor left something behind");
}

#[test]
fn an_old_database_is_told_from_an_unreachable_one() {
    let database = Database::new();
    Binary::start(&database, &[]).stop();
    let settings = [("DATABASE_URL", database.url.as_str()), ("MESH_PUBLIC_URL", "http://127.0.0.1:1")];
    let visit = Visit::pay(database.dir.path(), &settings);
    for name in ["database", "database_writable", "database_migrated"] {
        visit.ok(name);
    }
    let mut down = Binary::command(database.dir.path());
    down.args(["migrate", "down", "--yes"]).envs(settings);
    assert_eq!(output(down).0, Some(0));
    let visit = Visit::pay(database.dir.path(), &settings);
    visit.ok("database_writable");
    visit.failed("database_migrated", "1 of ");

    let dead =
        [("DATABASE_URL", "postgresql://mesh:hunter2@127.0.0.1:1/mesh"), ("MESH_PUBLIC_URL", "http://127.0.0.1:1")];
    let visit = Visit::pay(database.dir.path(), &dead);
    visit.failed("database", "cannot connect to PostgreSQL");
    assert!(!visit.printed.contains("hunter2"), "{}", visit.printed);
}

#[test]
fn files_that_others_can_read_are_found() {
    let dir = TempDir::new().unwrap();
    let (secret, key, turn, dotenv) = (
        dir.path().join("mesh.secret"),
        dir.path().join("mesh.eddsa.pem"),
        dir.path().join("turn"),
        dir.path().join(".env"),
    );
    for file in [&secret, &key, &turn, &dotenv] {
        fs::write(file, "a text of more than thirty-two characters\n").unwrap();
        chmod(file, 0o600);
    }
    fs::write(&dotenv, "GOTIFY_TOKEN=hunter2\n").unwrap();
    let settings = [
        ("MESH_PUBLIC_URL", "http://127.0.0.1:1"),
        ("MESH_JWT_ALGORITHM", "EdDSA"),
        ("TURN_SECRET_FILE", turn.to_str().unwrap()),
    ];
    let look = || Visit::pay(dir.path(), &settings);
    let visit = look();
    let sentence = visit.ok("secret_files");
    for file in ["mesh.secret", "mesh.eddsa.pem", "turn", ".env"] {
        assert!(sentence.contains(file), "{sentence}");
    }
    for (file, mode, words) in [
        (&secret, 0o644, "(the secret that signs and seals) can be read by others (mode 0644)"),
        (&secret, 0o660, "can be changed by others"),
        (&key, 0o640, "(the keys that sign tokens) can be read"),
        (&turn, 0o622, "(TURN_SECRET) can be changed by others"),
        (&dotenv, 0o604, ".env (GOTIFY_TOKEN) can be read"),
    ] {
        chmod(file, mode);
        let visit = look();
        visit.failed("secret_files", words);
        assert!(visit.check("secret_files")["mend"].as_str().unwrap().contains("chmod 600"), "{}", visit.printed);
        assert!(!visit.printed.contains("hunter2") && !visit.printed.contains("thirty-two"), "{}", visit.printed);
        chmod(file, 0o600);
    }
    // What containers mount can be read by all, and that is theirs to decide.
    chmod(&turn, 0o444);
    look().ok("secret_files");
    chmod(dir.path(), 0o777);
    look().failed("secret_files", "can be changed by everybody");
}

/// As a package keeps them: root's, and the server's group may read them; a link leads there from the server's folder.
#[test]
fn settings_that_root_lends_to_the_servers_group_are_well() {
    let (etc, place) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let file = etc.path().join("mesh-server.env");
    fs::write(&file, "GOTIFY_TOKEN=hunter2\nMESH_PUBLIC_URL=http://127.0.0.1:1\n").unwrap();
    std::os::unix::fs::symlink(&file, place.path().join(".env")).unwrap();
    let nobody = 65_534;
    if std::os::unix::fs::chown(&file, Some(0), Some(nobody)).is_err() {
        return skipped("files of root's", "root");
    }
    chmod(etc.path(), 0o755);
    chmod(place.path(), 0o755);
    let look = || {
        let mut command = Binary::command(place.path());
        command.uid(nobody).gid(nobody);
        Visit::by(command)
    };
    chmod(&file, 0o640);
    assert!(look().ok("secret_files").contains(".env"));
    chmod(&file, 0o644);
    look().failed("secret_files", ".env (GOTIFY_TOKEN) can be read by others (mode 0644)");
    chmod(&file, 0o660);
    look().failed("secret_files", "can be changed by others");
}

/// A Gotify that answers as a real 2.3.0 did, with a `Date` of its own where one is given.
fn gotify(date: Option<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut reader = BufReader::new(client.try_clone().unwrap());
            let Some(lines) = head(&mut reader) else { continue };
            let value =
                |name: &str| lines.iter().find(|l| is(l, name)).and_then(|l| l.split_once(": ")).map(|(_, v)| v);
            let mut body = vec![0; value("content-length").map_or(0, |length| length.parse().unwrap())];
            reader.read_exact(&mut body).unwrap();
            let request = lines[0].rsplit_once(' ').unwrap().0;
            assert!(!request.contains("hunter2"), "a token in a URL");
            let (status, answer) = match (request, value("x-gotify-key")) {
                ("GET /health", _) => ("200 OK", r#"{"health":"green","database":"green"}"#),
                ("GET /version", _) => ("200 OK", r#"{"version":"2.3.0","commit":"c","buildDate":"d"}"#),
                ("POST /message", Some("hunter2")) if body == b"{}" => (
                    "400 Bad Request",
                    r#"{"error":"Bad Request","errorCode":400,"errorDescription":"Field 'message' is required"}"#,
                ),
                ("POST /message", Some("hunter2")) => panic!("a message would be sent: {body:?}"),
                ("POST /message", Some("client")) => ("403 Forbidden", "{}"),
                ("POST /message", _) => ("401 Unauthorized", r#"{"error":"Unauthorized","errorCode":401}"#),
                _ => ("404 Not Found", "{}"),
            };
            let date = date.map(|date| format!("Date: {date}\r\n")).unwrap_or_default();
            let length = answer.len();
            write!(client, "HTTP/1.1 {status}\r\n{date}Content-Length: {length}\r\nConnection: close\r\n\r\n{answer}")
                .unwrap();
        }
    });
    url
}

#[test]
fn gotify_is_asked_without_sending_anything() {
    let dir = TempDir::new().unwrap();
    let url = gotify(None);
    let look = |url: &str, token: &str| {
        Visit::pay(
            dir.path(),
            &[("GOTIFY_URL", url), ("GOTIFY_TOKEN", token), ("MESH_PUBLIC_URL", "http://127.0.0.1:1")],
        )
    };
    let visit = look(&url, "hunter2");
    assert!(visit.ok("gotify").contains("(version 2.3.0) and takes GOTIFY_TOKEN"), "{}", visit.printed);
    assert!(!visit.printed.contains("hunter2"), "{}", visit.printed);
    look(&url, "another").failed("gotify", "does not take GOTIFY_TOKEN");
    look(&url, "client").failed("gotify", "is no application's");
    assert!(look(&url, "").ok("gotify").contains("no GOTIFY_TOKEN"));
    look("http://127.0.0.1:1", "hunter2").failed("gotify", "cannot be reached");
    look(&format!("{url}/somewhere"), "hunter2").failed("gotify", "no Gotify");
}

#[test]
fn a_clock_that_is_off_is_found() {
    let dir = TempDir::new().unwrap();
    let url = gotify(Some("Thu, 01 Jan 2026 00:00:00 GMT"));
    let visit = Visit::pay(dir.path(), &[("GOTIFY_URL", &url), ("MESH_PUBLIC_URL", "http://127.0.0.1:1")]);
    visit.failed("clock", "ahead of that of Gotify");
}
