//! Settings, as whoever runs the binary meets them.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use super::{Rest, run};
use crate::kit::Binary;

/// What must never be shown.
const SECRET: &str = "hunter2-hunter2-hunter2-hunter2-hunter2";

/// Starts the server in a folder with these flags and nothing else.
fn start(dir: &Path, args: &[&str], env: &[(&str, &str)]) -> Binary {
    let mut command = Binary::command(dir);
    command.args(["--port", "0"]).args(args).envs(env.iter().copied());
    Binary::spawn(command)
}

/// Runs the binary, which must refuse its settings; the one line that says why.
fn refused(dir: &Path, args: &[&str], env: &[(&str, &str)]) -> String {
    let (status, out, errors) = run(dir, args, env);
    assert_eq!((status, out.as_str()), (Some(2), ""), "{args:?} {env:?}: {errors}");
    let line = errors.strip_suffix('\n').unwrap_or_else(|| panic!("no whole line: {errors:?}"));
    assert!(!line.contains('\n') && line.starts_with("mesh-server: "), "{env:?}: {errors:?}");
    line.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_is_its_owners_alone() {
    let dir = TempDir::new().unwrap();
    let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
    // The usual umask lets everybody read what is made.
    let mut shell = Command::new("sh");
    shell.current_dir(dir.path()).env_clear().stdin(Stdio::null());
    shell.args(["-c", "umask 022; exec \"$0\" --port 0"]).arg(Binary::command(dir.path()).get_program());
    let server = Binary::spawn(shell);
    Rest::of(&server).register("ana").await;
    for name in ["mesh.db", "mesh.db-wal", "mesh.db-shm", "mesh.secret"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    server.stop();
    // What is there already is its owner's to say.
    fs::set_permissions(dir.path().join("mesh.db"), fs::Permissions::from_mode(0o640)).unwrap();
    let server = start(dir.path(), &[], &[]);
    assert_eq!(mode("mesh.db"), 0o640);
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_nothing_configured_it_starts_and_keeps_its_secret() {
    let dir = TempDir::new().unwrap();
    let server = start(dir.path(), &[], &[]);
    let ana = Rest::of(&server).register("ana").await;
    let (file, database) = (dir.path().join("mesh.secret"), dir.path().join("mesh.db"));
    assert!(database.is_file());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let secret = fs::read_to_string(&file).unwrap();
    assert!(secret.trim().len() >= 32, "{} characters", secret.trim().len());
    let (status, log) = server.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains(secret.trim()), "the secret is in the log");
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");

    let server = start(dir.path(), &[], &[]);
    assert_eq!(fs::read_to_string(&file).unwrap(), secret);
    assert_eq!(Rest::of(&server).me(&ana.token).await.as_deref(), Ok("ana"));
    server.stop();

    // It is the file that matters: without it a new one is made, and what the old one signed is worth nothing.
    fs::remove_file(&file).unwrap();
    let server = start(dir.path(), &[], &[]);
    assert_ne!(fs::read_to_string(&file).unwrap(), secret);
    assert_eq!(Rest::of(&server).me(&ana.token).await, Err(401));
}

#[test]
fn a_secret_that_cannot_serve_is_refused_and_kept() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("mesh.secret");
    fs::write(&file, "hunter2").unwrap();
    let (status, _, errors) = run(dir.path(), &["--port", "0"], &[]);
    assert!(matches!(status, Some(1 | 2)), "{status:?}");
    assert!(
        errors.contains("mesh.secret") && errors.contains("at least 32") && !errors.contains("hunter2"),
        "{errors}"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), "hunter2");
}

#[test]
fn a_bad_value_is_told_in_one_line() {
    let dir = TempDir::new().unwrap();
    let cases = [
        ("MESH_PUBLIC_URL", "localhost:8000", "http://"),
        ("MESH_HOST", "example.org", "IP address"),
        ("MESH_PORT", "65536", "0 to 65535"),
        ("MESH_PORT", "http", "0 to 65535"),
        ("MESH_JWT_ALGORITHM", "none", "HS256"),
        ("MESH_JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "0", "1 to 43200"),
        ("MESH_JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "43201", "1 to 43200"),
        ("MESH_JWT_REFRESH_TOKEN_EXPIRE_DAYS", "soon", "1 to 3650"),
        ("DATABASE_URL", "mysql://localhost/mesh", "sqlite:///"),
        ("GOTIFY_URL", "gotify.example.org", "http://"),
        ("STUN_URL", "stun.example.org", "stun:"),
        ("TURN_HOST", "turn:example.org:3478", "host name"),
        ("TURN_HOST", "turn.example.org", "TURN_SECRET"),
        ("TURN_PORT", "0", "1 to 65535"),
        ("TURN_TTL_SECONDS", "-1", "1 to 2592000"),
        ("LOG_LEVEL", "VERBOSE", "DEBUG"),
        ("MESH_LOG_FORMAT", "xml", "text, json"),
        ("MESH_REGISTRATION", "yes", "open"),
        ("MESH_BCRYPT_COST", "3", "4 to 15"),
        ("MESH_LOGIN_ATTEMPTS", "0", "1 to 1000000"),
        ("MESH_EVENTS_PER_SECOND", "1.5", "1 to 1000000"),
        ("MESH_MAX_MESSAGE_CHARS", "16001", "1 to 16000"),
        ("MESH_CORS_ORIGINS", "https://app.example/path", "origins"),
        ("MESH_TRUSTED_PROXIES", "10.0.0.0/33", "CIDR"),
        ("MESH_METRICS_ADDR", "9090", "IP address and port"),
        ("MESH_BUS_URL", "redis://localhost", "nats://"),
        ("MESH_SHUTDOWN_SECONDS", "3601", "0 to 3600"),
    ];
    for (name, value, accepted) in cases {
        // Whatever the command: nobody learns of a slip only when the server starts.
        for args in [&[] as &[&str], &["config"], &["migrate", "status"]] {
            let line = refused(dir.path(), args, &[(name, value)]);
            assert!(line.contains(&format!("{name}={value}: ")), "{line}");
            assert!(line.contains("expected") && line.contains(accepted), "{line}");
        }
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "a refused start leaves nothing behind");

    let forged = refused(dir.path(), &[], &[("LOG_LEVEL", "INFO\nmesh-server: all is well\x1b[2J")]);
    assert!(forged.contains("LOG_LEVEL=INFO\\n"), "{forged}");
    assert!(!forged.contains('\x1b'), "{forged:?}");

    let flag = refused(dir.path(), &["--port", "seven"], &[("MESH_PORT", "0")]);
    assert!(flag.contains("MESH_PORT=seven: ") && flag.contains("--port"), "{flag}");

    fs::write(dir.path().join(".env"), "MESH_PORT=eight\n").unwrap();
    let dotenv = refused(dir.path(), &[], &[]);
    assert!(dotenv.contains("MESH_PORT=eight: ") && dotenv.contains(".env"), "{dotenv}");
    fs::write(dir.path().join(".env"), format!("# fine\nTURN_PASSWORD='{SECRET}\n")).unwrap();
    let malformed = refused(dir.path(), &[], &[]);
    assert!(malformed.contains(".env line 2") && !malformed.contains("hunter2"), "{malformed}");
}

#[test]
fn a_bad_secret_is_never_shown() {
    use std::os::unix::ffi::OsStringExt as _;
    let dir = TempDir::new().unwrap();
    let short = refused(dir.path(), &[], &[("MESH_JWT_SECRET", "hunter2")]);
    assert!(short.contains("MESH_JWT_SECRET=***: ") && short.contains("at least 32"), "{short}");
    for (name, value) in [
        ("DATABASE_URL", "postgresql://mesh:hunter2@localhost/my mesh"),
        ("DATABASE_URL", "mysql://mesh:hunter2@localhost/mesh"),
        ("MESH_BUS_URL", "redis://:hunter2@localhost"),
        ("MESH_JWT_SECRET", "hunter2\u{7}hunter2hunter2hunter2hunter2hunter2"),
        ("TURN_PASSWORD", "hunter2\u{7}"),
        ("GOTIFY_TOKEN", "hunter2\u{7}"),
        ("MESH_PUBLIC_URL", "ftp://ana:hunter2@example.org"),
    ] {
        let line = refused(dir.path(), &[], &[(name, value)]);
        assert!(line.contains(&format!("{name}=")) && line.contains("expected"), "{line}");
        assert!(!line.contains("hunter2"), "{line}");
    }
    let file = dir.path().join("short");
    fs::write(&file, "hunter2").unwrap();
    let line = refused(dir.path(), &[], &[("MESH_JWT_SECRET_FILE", file.to_str().unwrap())]);
    assert!(line.contains("MESH_JWT_SECRET=***: ") && line.contains("MESH_JWT_SECRET_FILE"), "{line}");

    let mut command = Binary::command(dir.path());
    command.env("MESH_PUBLIC_URL", std::ffi::OsString::from_vec(b"http://\xff".to_vec()));
    let (status, _, errors) = crate::kit::output(command);
    assert_eq!((status, errors.lines().count()), (Some(2), 1), "{errors}");
    assert!(errors.contains("MESH_PUBLIC_URL=") && errors.contains("UTF-8"), "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_may_come_from_files() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("credential");
    fs::write(&file, format!("{SECRET}\n")).unwrap();
    let named = ("MESH_JWT_SECRET_FILE", file.to_str().unwrap());
    let server = start(dir.path(), &["--bcrypt-cost", "4"], &[named]);
    let ana = Rest::of(&server).register("ana").await;
    server.stop();
    assert!(!dir.path().join("mesh.secret").exists(), "one secret is enough");
    // The same secret said otherwise: the newline that editors put at a file's end is no part of it.
    let server = start(dir.path(), &[], &[("MESH_JWT_SECRET", SECRET)]);
    assert_eq!(Rest::of(&server).me(&ana.token).await.as_deref(), Ok("ana"));
    server.stop();
    let server = start(dir.path(), &["--jwt-secret-file", "credential"], &[]);
    assert_eq!(Rest::of(&server).me(&ana.token).await.as_deref(), Ok("ana"));
    server.stop();

    let both = refused(dir.path(), &[], &[named, ("MESH_JWT_SECRET", SECRET)]);
    assert!(both.contains("MESH_JWT_SECRET") && both.contains("only one") && !both.contains(SECRET), "{both}");
    let absent = refused(dir.path(), &[], &[("MESH_JWT_SECRET_FILE", "/nowhere/secret")]);
    assert!(absent.contains("MESH_JWT_SECRET_FILE=/nowhere/secret: "), "{absent}");

    let url = format!("sqlite:///{}/other.db", dir.path().display());
    fs::write(dir.path().join("url"), &url).unwrap();
    for name in ["DATABASE_URL", "GOTIFY_TOKEN", "TURN_SECRET", "TURN_PASSWORD", "MESH_BUS_URL"] {
        let content = match name {
            "DATABASE_URL" => url.clone(),
            "MESH_BUS_URL" => format!("nats://{SECRET}@bus.example.org"),
            _ => SECRET.to_owned(),
        };
        fs::write(dir.path().join("url"), content).unwrap();
        let (status, out, errors) = run(dir.path(), &["config"], &[(&format!("{name}_FILE"), "url")]);
        assert_eq!(status, Some(0), "{errors}");
        let line = out.lines().find(|line| line.starts_with(&format!("{name}="))).unwrap_or_default();
        assert!(line.contains(&format!("{name}_FILE")), "{name}: {out}");
        assert!(!out.contains(SECRET) && !errors.contains(SECRET), "{out}{errors}");
    }
}

#[test]
fn later_sources_win() {
    let dir = TempDir::new().unwrap();
    let dotenv = "LOG_LEVEL=ERROR\nMESH_BCRYPT_COST=5\nexport MESH_LOGIN_ATTEMPTS=\"6\"\nMESH_HOST=\n";
    fs::write(dir.path().join(".env"), dotenv).unwrap();
    let env = [("LOG_LEVEL", "DEBUG"), ("MESH_BCRYPT_COST", "7"), ("MESH_PORT", "")];
    let (status, out, errors) = run(dir.path(), &["config", "--json", "--log-level", "WARNING"], &env);
    assert_eq!((status, errors.as_str()), (Some(0), ""));
    let shown: serde_json::Value = serde_json::from_str(&out).unwrap();
    for (name, value, source) in [
        ("LOG_LEVEL", "WARNING", "flag"),
        ("MESH_BCRYPT_COST", "7", "environment"),
        ("MESH_LOGIN_ATTEMPTS", "6", ".env"),
        ("MESH_SHUTDOWN_SECONDS", "10", "default"),
        ("MESH_HOST", "0.0.0.0", "default"),
        ("MESH_PORT", "8000", "default"),
    ] {
        assert_eq!(shown[name]["value"], value, "{name}");
        assert_eq!(shown[name]["source"], source, "{name}");
    }
    // Before and after the subcommand alike.
    let (_, before, _) = run(dir.path(), &["--log-level", "WARNING", "config", "--json"], &env);
    assert_eq!(before, out);
    // What a bad value would be does not matter where a stronger source has a good one.
    assert_eq!(run(dir.path(), &["config", "--bcrypt-cost", "4"], &[("MESH_BCRYPT_COST", "4")]).0, Some(0));
}

#[test]
fn what_is_in_force_is_shown_and_secrets_are_not() {
    let dir = TempDir::new().unwrap();
    let url = format!("postgresql+psycopg2://mesh:{SECRET}@db.example.org/mesh");
    let bus = format!("nats://mesh:{SECRET}@bus.example.org:4222");
    let turn = format!("{SECRET},{SECRET}-old");
    let secrets = [
        ("MESH_JWT_SECRET", SECRET),
        ("DATABASE_URL", &url),
        ("GOTIFY_TOKEN", SECRET),
        ("TURN_HOST", "turn.example.org"),
        ("TURN_SECRET", &turn),
        ("TURN_USERNAME", "mesh"),
        ("TURN_PASSWORD", SECRET),
        ("MESH_BUS_URL", &bus),
    ];
    for args in [&["config"] as &[&str], &["config", "--json"]] {
        let (status, out, errors) = run(dir.path(), args, &secrets);
        assert_eq!(status, Some(0), "{errors}");
        assert!(!out.contains("hunter2") && !errors.contains("hunter2"), "{out}{errors}");
        assert!(out.contains("***") && out.contains("db.example.org") && out.contains("bus.example.org"), "{out}");
    }
    // By flags too, where the operator is told that others can read them there.
    let (_, out, errors) = run(dir.path(), &["config", "--jwt-secret", SECRET], &[]);
    assert!(errors.contains("--jwt-secret-file"), "{errors}");
    assert!(!out.contains("hunter2") && !errors.contains("hunter2"), "{out}{errors}");

    // All variables of the contract.
    let (_, out, _) = run(dir.path(), &["config"], &[]);
    for name in "MESH_PUBLIC_URL MESH_HOST MESH_PORT MESH_JWT_SECRET MESH_JWT_ALGORITHM MESH_JWT_PRIVATE_KEY_FILE \
        MESH_JWT_ACCESS_TOKEN_EXPIRE_MINUTES MESH_JWT_REFRESH_TOKEN_EXPIRE_DAYS DATABASE_URL GOTIFY_URL GOTIFY_TOKEN \
        NTFY_URL NTFY_TOKEN MESH_PUSH_CONTENT \
        STUN_URL TURN_HOST TURN_PORT TURN_SECRET TURN_USERNAME TURN_PASSWORD TURN_TTL_SECONDS LOG_LEVEL \
        MESH_LOG_FORMAT MESH_REGISTRATION MESH_BCRYPT_COST MESH_LOGIN_ATTEMPTS MESH_EVENTS_PER_SECOND \
        MESH_MAX_MESSAGE_CHARS MESH_CORS_ORIGINS MESH_TRUSTED_PROXIES MESH_METRICS_ADDR MESH_BUS_URL \
        MESH_SHUTDOWN_SECONDS"
        .split_whitespace()
    {
        assert_eq!(out.lines().filter(|line| line.contains(&format!("{name}="))).count(), 1, "{name}: {out}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "it only looks");
}

#[test]
fn an_unknown_variable_is_a_warning_with_the_nearest_name() {
    let dir = TempDir::new().unwrap();
    let env = [("MESH_PROT", "8001"), ("MESH_LOG_LEVEL", "DEBUG"), ("UNRELATED", "1")];
    let (status, _, errors) = run(dir.path(), &["config"], &env);
    assert_eq!((status, errors.lines().count()), (Some(0), 2), "{errors}");
    let warned = |text: &str, name: &str, near: &str| {
        text.lines().any(|l| l.contains(&format!("{name} ")) && l.contains(&format!("nearest known one is {near}")))
    };
    assert!(warned(&errors, "MESH_PROT", "MESH_PORT") && warned(&errors, "MESH_LOG_LEVEL", "LOG_LEVEL"), "{errors}");

    let (status, log) = start(dir.path(), &[], &env).stop();
    assert_eq!(status.code(), Some(0));
    assert!(warned(&log, "MESH_PROT", "MESH_PORT"), "{log}");
    assert!(!log.contains("UNRELATED"), "{log}");
}

#[test]
fn what_comes_later_is_refused_rather_than_ignored() {
    let dir = TempDir::new().unwrap();
    let bus = ("MESH_BUS_URL", "nats://mesh:hunter2@bus.example.org:4222");
    let line = refused(dir.path(), &[], &[bus]);
    let words = ["MESH_BUS_URL=", "later release", "accepted now"];
    assert!(words.iter().all(|word| line.contains(word)) && !line.contains("hunter2"), "{line}");
    // It is a good value all the same.
    assert_eq!(run(dir.path(), &["config"], &[bus]).0, Some(0));
}
