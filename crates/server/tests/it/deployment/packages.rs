//! What is built and installed: the image, Compose, the Debian package's parts. The image itself is built by
//! `tests/image.sh`.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{python, repository};
use crate::kit::{Binary, output};

#[test]
fn the_dockerfile_has_nothing_to_complain_of() {
    let Some(hadolint) = python("hadolint") else { return };
    let judged = Command::new(hadolint).arg(repository("Dockerfile")).stdin(Stdio::null()).output().unwrap();
    let words = String::from_utf8_lossy(&judged.stdout);
    assert!(judged.status.success() && words.is_empty(), "{words}{}", String::from_utf8_lossy(&judged.stderr));
}

#[test]
fn the_dockerfile_takes_what_is_there() {
    let text = fs::read_to_string(repository("Dockerfile")).unwrap();
    let copied: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "))
        .filter(|line| !line.starts_with("--"))
        .flat_map(|line| line.split_whitespace().rev().skip(1))
        .collect();
    for name in &copied {
        assert!(repository(name).exists(), "COPY {name}: it is not there");
    }
    // Cargo reads every crate's manifest before it builds one, and migrations are built in.
    let ignored = fs::read_to_string(repository(".dockerignore")).unwrap();
    let crates = fs::read_dir(repository("crates")).unwrap();
    for name in crates.map(|entry| entry.unwrap().file_name().into_string().unwrap()) {
        assert!(copied.contains(format!("crates/{name}/Cargo.toml").as_str()), "the crate {name} is not copied");
    }
    for wanted in [".cargo/", "Cargo.toml", "Cargo.lock", "crates/", "migrations/"] {
        assert!(ignored.lines().any(|line| line == format!("!{wanted}")), "{wanted} does not go to the builder");
    }
    for wanted in
        ["USER 10001:10001", "VOLUME /data", "\"mesh-server\", \"healthcheck\"", "ENTRYPOINT [\"mesh-server\"]"]
    {
        assert!(text.contains(wanted), "{wanted}");
    }
    let version = text.lines().find_map(|line| line.strip_prefix("ARG RUST_VERSION=")).unwrap();
    let pinned = fs::read_to_string(repository("rust-toolchain.toml")).unwrap();
    assert!(pinned.contains(&format!("channel = \"{version}")), "another compiler than {version}: {pinned}");
}

/// Runs `deploy/secrets.sh` as in a checkout of its own.
fn secrets(dir: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    fs::create_dir_all(dir.join("deploy")).unwrap();
    let script = dir.join("deploy/secrets.sh");
    fs::copy(repository("deploy/secrets.sh"), &script).unwrap();
    let mut command = Command::new("sh");
    command.arg(script).args(args).stdin(Stdio::null());
    output(command)
}

#[test]
fn secrets_are_made_once() {
    for (args, url) in [
        (&["chat.example.org", "push.example.org"][..], "sqlite:////data/mesh.db\n"),
        (&["--postgres", "chat.example.org", "push.example.org", "turn.example.org"], "postgresql://mesh:"),
    ] {
        let dir = TempDir::new().unwrap();
        let (status, _, errors) = secrets(dir.path(), args);
        assert_eq!((status, errors.as_str()), (Some(0), ""));
        let folder = dir.path().join("secrets");
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(dir.path().join(".env")).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(fs::read_to_string(folder.join("database_url")).unwrap().starts_with(url));
        let turn = fs::read_to_string(folder.join("turn_secret")).unwrap();
        assert_eq!(turn.trim().len(), 64);
        let conf = fs::read_to_string(folder.join("turnserver.conf")).unwrap();
        assert!(conf.contains(&format!("static-auth-secret={}\n", turn.trim())));
        assert!(
            conf.contains(&format!(
                "realm={}\n",
                args.last().filter(|_| args.len() > 3).unwrap_or(&"chat.example.org")
            ))
        );
        let env = fs::read_to_string(dir.path().join(".env")).unwrap();
        assert_eq!(env.contains("COMPOSE_PROFILES=postgres"), args.len() > 3);
        // Nothing is replaced.
        let (status, _, errors) = secrets(dir.path(), args);
        assert_eq!(status, Some(1));
        assert!(errors.contains("there already"), "{errors}");
        assert_eq!(fs::read_to_string(folder.join("turn_secret")).unwrap(), turn);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3, "only deploy, secrets and .env are there");

        // The server takes them as Compose gives them.
        let place = TempDir::new().unwrap();
        let mut command = Binary::command(place.path());
        command.arg("config").env("TURN_HOST", "turn.example.org");
        command
            .env("TURN_SECRET_FILE", folder.join("turn_secret"))
            .env("DATABASE_URL_FILE", folder.join("database_url"));
        let (status, out, errors) = output(command);
        assert_eq!((status, errors.as_str()), (Some(0), ""));
        assert!(out.contains("TURN_SECRET=***") && !out.contains(turn.trim()), "{out}");
    }
    let dir = TempDir::new().unwrap();
    for args in [&[][..], &["chat.example.org"], &["a b", "c"], &["$(true)", "push.example.org"], &["a", "b", "c", "d"]]
    {
        assert_eq!(secrets(dir.path(), args).0, Some(2), "{args:?}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "a refusal leaves nothing behind");
}

#[test]
fn compose_and_traefik_lead_somewhere() {
    let Some(python) = python("python") else { return };
    let dir = TempDir::new().unwrap();
    assert_eq!(secrets(dir.path(), &["--postgres", "chat.example.org", "push.example.org"]).0, Some(0));
    let mut command = Command::new(python);
    command.arg(repository("tests/python/deploy.py")).arg(repository(".")).arg(dir.path());
    let (status, out, errors) = output(command);
    assert_eq!((status, out.as_str(), errors.as_str()), (Some(0), "read\n", ""));
}

/// What Docker Compose itself makes of it, with its profiles; it needs no engine for that.
#[test]
fn compose_takes_its_file() {
    let Some(compose) = python("docker-compose") else { return };
    for (args, database) in [
        (&["chat.example.org", "push.example.org", "turn.example.org"][..], false),
        (&["--postgres", "chat.example.org", "push.example.org", "turn.example.org"], true),
    ] {
        let dir = TempDir::new().unwrap();
        fs::copy(repository("compose.yaml"), dir.path().join("compose.yaml")).unwrap();
        let config = || {
            let mut command = Command::new(&compose);
            command.args(["config", "--format", "json"]).current_dir(dir.path()).env_clear().stdin(Stdio::null());
            output(command)
        };
        let (status, _, errors) = config();
        assert_ne!(status, Some(0));
        assert!(errors.contains("run deploy/secrets.sh first"), "{errors}");
        assert_eq!(secrets(dir.path(), args).0, Some(0));
        let (status, out, errors) = config();
        assert_eq!((status, errors.as_str()), (Some(0), ""), "nothing to warn of");
        let told: Value = serde_json::from_str(&out).unwrap();
        let services: BTreeSet<&str> = told["services"].as_object().unwrap().keys().map(String::as_str).collect();
        let mut wanted = BTreeSet::from(["caddy", "coturn", "gotify", "mesh"]);
        wanted.extend(database.then_some("postgres"));
        assert_eq!(services, wanted);
        let mesh = &told["services"]["mesh"]["environment"];
        assert_eq!(mesh["MESH_PUBLIC_URL"], "https://chat.example.org");
        assert_eq!(
            (&mesh["TURN_HOST"], &mesh["STUN_URL"]),
            (&"turn.example.org".into(), &"stun:turn.example.org:3478".into())
        );
        // The server has a variable for each that it is given, and no other.
        let place = TempDir::new().unwrap();
        let mut command = Binary::command(place.path());
        for (name, value) in mesh.as_object().unwrap() {
            let value =
                value.as_str().unwrap().replace("/run/secrets", &dir.path().join("secrets").display().to_string());
            command.env(name, value);
        }
        let (status, out, errors) = output({
            command.arg("config");
            command
        });
        assert_eq!((status, errors.as_str()), (Some(0), ""), "{out}");
    }
}

/// As `docker run --env-file` reads it: lines of NAME=value, taken as they stand.
#[test]
fn the_example_of_settings_is_one_that_docker_takes() {
    let text = fs::read_to_string(repository(".env.example")).unwrap();
    let mut variables = 0;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let bare = line.strip_prefix('#').unwrap_or(line);
        if let Some((name, value)) =
            bare.split_once('=').filter(|(name, _)| name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'))
        {
            variables += 1;
            assert!(!value.starts_with(['\'', '"']), "{name}: docker would take the quotes for a part of the value");
        } else {
            assert!(line.starts_with('#'), "{line}");
        }
    }
    assert!(variables >= 30, "{variables}");
    let dir = TempDir::new().unwrap();
    fs::copy(repository(".env.example"), dir.path().join(".env")).unwrap();
    let server = Binary::spawn({
        let mut command = Binary::command(dir.path());
        command.args(["--port", "0"]);
        command
    });
    assert_eq!(server.stop().0.code(), Some(0));
}

#[test]
fn the_debian_package_takes_what_is_there() {
    let manifest = fs::read_to_string(repository("crates/server/Cargo.toml")).unwrap();
    let part = manifest.split_once("[package.metadata.deb]").unwrap().1;
    let mut assets = 0;
    for line in part.lines().filter(|line| line.trim_start().starts_with('[')) {
        let source = line.split('"').nth(1).unwrap();
        // What is built first: the program, and what prepare.sh makes.
        if !source.contains("target/") {
            assert!(repository("crates/server").join(source).exists(), "{source} is not there");
        }
        assets += 1;
    }
    assert!(assets >= 8, "{part}");
    for script in ["postinst", "postrm", "prepare.sh"] {
        let path = repository("deploy/debian").join(script);
        assert_ne!(fs::metadata(&path).unwrap().permissions().mode() & 0o111, 0, "{script} cannot be run");
        let judged = Command::new("sh").arg("-n").arg(&path).status().unwrap();
        assert!(judged.success(), "{script}");
    }
}
