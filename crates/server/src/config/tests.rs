#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;

use clap::Command;

use super::*;

mod files;

const LONG: &str = "0123456789abcdef0123456789abcdef";

/// A folder of its own for each test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        Self::named("own")
    }

    fn named(kind: &str) -> Self {
        let test = std::thread::current().name().unwrap_or("main").replace("::", "-");
        let path = std::env::temp_dir().join(format!("mesh-config-{}-{test}-{kind}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn pairs(list: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    list.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<Vec<_>>().into_iter()
}

/// Loads with flags (after a subcommand), environment and the text of a `.env`.
fn load(args: &[&str], env: &[(&str, &str)], dotenv: Option<&str>) -> Result<(Config, Vec<String>), ConfigError> {
    let folder = Folder::named("load");
    if let Some(text) = dotenv {
        folder.file(".env", text);
    }
    let command = Command::new("mesh-server").args(clap_args()).subcommand(Command::new("serve"));
    let matches = command.try_get_matches_from(["mesh-server"].iter().chain(args)).unwrap();
    Config::load(Some(&matches), pairs(env), &folder.0.join(".env"))
}

fn refusal(name: &str, value: &str) -> String {
    Config::from_pairs(&[(name, value)]).unwrap_err().to_string()
}

fn warnings(env: &[(&str, &str)]) -> Vec<String> {
    load(&[], env, None).unwrap().1
}

#[test]
fn defaults_are_the_contracts() {
    let (c, warnings) = Config::load(None, pairs(&[]), Path::new("/nonexistent/.env")).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(c.public_url, "http://localhost:8000");
    assert_eq!((c.host.to_string().as_str(), c.port), ("0.0.0.0", 8000));
    assert_eq!((c.jwt_secret.as_ref(), c.jwt_algorithm), (None, JwtAlgorithm::Hs256));
    assert_eq!((c.access_token_minutes, c.refresh_token_days), (120, 30));
    assert_eq!(c.database_url, DatabaseUrl::SqliteFile("./mesh.db".into()));
    assert_eq!((c.gotify_url.as_deref(), c.gotify_token.as_ref()), (None, None));
    assert_eq!(c.stun_urls, ["stun:stun.l.google.com:19302"]);
    assert_eq!((c.turn_auth(), c.turn_port, c.turn_ttl_seconds), (None, 3478, 3600));
    assert_eq!((c.log_level.as_str(), c.log_format), ("info", LogFormat::Text));
    assert_eq!((c.registration, c.bcrypt_cost, c.login_attempts), (Registration::Open, 12, 10));
    assert_eq!((c.events_per_second, c.max_message_chars, c.shutdown_seconds), (50, 4000, 10));
    assert_eq!(c.cors_origins, CorsOrigins::List(vec!["http://localhost:8000".to_owned()]));
    assert!(c.trusted_proxies.is_empty() && c.metrics_addr.is_none() && c.bus_url.is_none());
    assert_eq!(c.unsupported(), Ok(()));
}

#[test]
fn later_sources_win() {
    let dotenv = Some("MESH_PORT=1\nMESH_BCRYPT_COST=4\nexport LOG_LEVEL='debug' # loud\n");
    let port = |args: &[&str], env: &[(&str, &str)]| load(args, env, dotenv).unwrap().0.port;
    assert_eq!(port(&[], &[]), 1);
    assert_eq!(port(&[], &[("MESH_PORT", "2")]), 2);
    assert_eq!(port(&["--port", "3"], &[("MESH_PORT", "2")]), 3);
    assert_eq!(port(&["serve", "--port=4"], &[("MESH_PORT", "2")]), 4, "global: after the subcommand too");
    assert_eq!(port(&[], &[("MESH_PORT", " ")]), 1, "empty counts as unset");
    assert_eq!(port(&[], &[("MESH_PORT", " 5 ")]), 5);
    let (config, _) = load(&["--port", "3"], &[("MESH_PORT", "not looked at")], dotenv).unwrap();
    assert_eq!((config.bcrypt_cost, config.log_level.as_str()), (4, "debug"));
    let dump = config.dump();
    for line in ["MESH_PORT=3  # flag", "MESH_BCRYPT_COST=4  # .env", "MESH_HOST=0.0.0.0  # default"] {
        assert!(dump.lines().any(|l| l == line), "{line} in\n{dump}");
    }
}

#[test]
fn matches_without_our_flags_are_no_error() {
    let matches = Command::new("other").try_get_matches_from(["other"]).unwrap();
    assert!(Config::load(Some(&matches), pairs(&[]), Path::new("/nonexistent")).is_ok());
}

#[test]
fn each_refusal_is_one_line_with_name_value_and_what_is_accepted() {
    let cases = [
        ("MESH_PUBLIC_URL", "chat.example.org", "http://"),
        ("MESH_PUBLIC_URL", "ftp://chat.example.org", "http://"),
        ("MESH_PUBLIC_URL", "https://chat.example.org/?a=b", "http://"),
        ("MESH_PUBLIC_URL", "https://", "http://"),
        ("MESH_HOST", "example.org", "an IP address"),
        ("MESH_PORT", "65536", "a port number from 0 to 65535"),
        ("MESH_PORT", "-1", "a port number from 0 to 65535"),
        ("MESH_PORT", "tcp://10.0.0.1:8000", "enableServiceLinks"),
        ("MESH_JWT_ALGORITHM", "none", "HS256, HS384, HS512, EdDSA, ES256, RS256"),
        ("MESH_JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "0", "from 1 to 43200"),
        ("MESH_JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "43201", "from 1 to 43200"),
        ("MESH_JWT_REFRESH_TOKEN_EXPIRE_DAYS", "0", "from 1 to 3650"),
        ("MESH_RETENTION_DAYS", "0", "from 1 to 36500"),
        ("MESH_RETENTION_DAYS", "36501", "from 1 to 36500"),
        ("DATABASE_URL", "mysql://h/d", "sqlite:///./relative.db"),
        ("DATABASE_URL", "sqlite:///mesh.db?mode=ro", "no ?parameters"),
        ("GOTIFY_URL", "gotify", "http://"),
        ("STUN_URL", "stun.example.org", "stun:stun.example.org:3478"),
        ("STUN_URL", "stun:a,turn:b", "stun:stun.example.org:3478"),
        ("STUN_URL", ",", "stun:stun.example.org:3478"),
        ("TURN_HOST", "turn:turn.example.org", "a host name"),
        ("TURN_HOST", "turn.example.org:3478", "a host name"),
        ("TURN_HOST", "turn.example.org", "TURN_SECRET"),
        ("TURN_TRANSPORTS", "udp,sctp", "udp, tcp, or both"),
        ("TURN_TLS_PORT", "0", "1 to 65535"),
        ("TURN_PORT", "0", "from 1 to 65535"),
        ("TURN_TTL_SECONDS", "0", "from 1 to"),
        ("LOG_LEVEL", "VERBOSE", "DEBUG, INFO, WARNING, ERROR"),
        ("LOG_LEVEL", "mesh_server=loud", "DEBUG, INFO, WARNING, ERROR"),
        ("MESH_LOG_FORMAT", "xml", "text, json"),
        ("MESH_REGISTRATION", "maybe", "open, invite, closed"),
        ("MESH_BCRYPT_COST", "3", "from 4 to 15"),
        ("MESH_BCRYPT_COST", "16", "from 4 to 15"),
        ("MESH_LOGIN_ATTEMPTS", "0", "from 1 to"),
        ("MESH_EVENTS_PER_SECOND", "0", "from 1 to"),
        ("MESH_MAX_MESSAGE_CHARS", "16001", "from 1 to 16000"),
        ("MESH_CORS_ORIGINS", "chat.example.org", "origins by comma"),
        ("MESH_CORS_ORIGINS", "https://chat.example.org/app", "origins by comma"),
        ("MESH_CORS_ORIGINS", "https://*.example.org", "origins by comma"),
        ("MESH_TRUSTED_PROXIES", "10.0.0.0/8,proxy", "CIDRs by comma"),
        ("MESH_METRICS_ADDR", ":9090", "an IP address and port"),
        ("MESH_BUS_URL", "redis://h", "a NATS address"),
        ("MESH_SHUTDOWN_SECONDS", "3601", "from 0 to 3600"),
        ("MESH_SHUTDOWN_SECONDS", "1.5", "from 0 to 3600"),
    ];
    for (name, value, accepted) in cases {
        let line = refusal(name, value);
        assert!(line.starts_with(&format!("{name}={value}: ")) && line.contains(accepted), "{line}");
    }
    assert_eq!(refusal("MESH_PORT", "abc"), "MESH_PORT=abc: expected a port number from 0 to 65535");
}

#[test]
fn a_refusal_stays_on_one_line_and_says_where_the_value_is() {
    let line = refusal("MESH_PORT", "1\nMESH_HOST=2\u{1b}[31m");
    assert!(!line.contains(char::is_control) && line.contains("control characters"), "{line}");
    assert!(refusal("MESH_PORT", &"9".repeat(5000)).len() < 300);
    assert!(refusal("TURN_USERNAME", "caf\u{fffd}").contains("UTF-8"));
    let error = load(&[], &[], Some("MESH_PORT=abc")).unwrap_err();
    assert_eq!(error.variable(), "MESH_PORT");
    assert!(error.to_string().ends_with("(set in .env)"));
    assert!(load(&["--port", "abc"], &[], None).unwrap_err().to_string().ends_with("(set by --port)"));
}

#[test]
fn values_are_read_in_their_usual_forms() {
    let c = Config::from_pairs(&[
        ("MESH_PUBLIC_URL", "HTTPS://Chat.Example.org:443/Mesh/"),
        ("MESH_HOST", "::"),
        ("MESH_PORT", "0"),
        ("MESH_JWT_ALGORITHM", "hs512"),
        ("STUN_URL", "stun:a.example.org, stuns:[2001:db8::1]:5349"),
        ("LOG_LEVEL", "Warning,mesh_server=debug"),
        ("MESH_LOG_FORMAT", "JSON"),
        ("MESH_REGISTRATION", "closed"),
        ("MESH_TRUSTED_PROXIES", "10.0.0.0/8, ::1"),
        ("MESH_METRICS_ADDR", "127.0.0.1:9090"),
    ])
    .unwrap();
    assert_eq!(c.public_url, "https://chat.example.org:443/Mesh");
    assert_eq!(c.cors_origins, CorsOrigins::List(vec!["https://chat.example.org".to_owned()]));
    assert!(c.cors_origins.allows("https://chat.example.org") && !c.cors_origins.allows("https://example.org"));
    assert_eq!((c.host.to_string().as_str(), c.port, c.jwt_algorithm), ("::", 0, JwtAlgorithm::Hs512));
    assert_eq!(c.stun_urls, ["stun:a.example.org", "stuns:[2001:db8::1]:5349"]);
    assert_eq!((c.log_level.as_str(), c.log_format), ("warn,mesh_server=debug", LogFormat::Json));
    assert_eq!((c.registration, c.trusted_proxies.len()), (Registration::Closed, 2));
    assert_eq!(c.metrics_addr.unwrap().port(), 9090);
    for (level, filter) in
        [("DEBUG", "debug"), ("warn", "warn"), ("Error", "error"), ("TRACE", "trace"), ("off", "off")]
    {
        assert_eq!(Config::from_pairs(&[("LOG_LEVEL", level)]).unwrap().log_level, filter);
    }
    let origins = |text: &str| Config::from_pairs(&[("MESH_CORS_ORIGINS", text)]).unwrap().cors_origins;
    assert_eq!(origins("*"), CorsOrigins::Any);
    let list = ["https://a.example", "http://b:8080", "capacitor://localhost"].map(str::to_owned).to_vec();
    assert_eq!(origins("https://A.example:443/, http://b:8080,capacitor://localhost"), CorsOrigins::List(list));
    assert_eq!(Config::from_pairs(&[("MESH_HOST", "localhost")]).unwrap().host.to_string(), "127.0.0.1");
}

#[test]
fn turn_needs_credentials_and_secrets_win() {
    let turn = |rest: &[(&str, &str)]| Config::from_pairs(&[&[("TURN_HOST", "2001:db8::1")], rest].concat());
    let secrets = turn(&[("TURN_SECRET", "one, two"), ("TURN_USERNAME", "u"), ("TURN_PASSWORD", "p")]).unwrap();
    assert_eq!(secrets.turn_host.as_deref(), Some("[2001:db8::1]"));
    assert_eq!(secrets.turn_auth(), Some(TurnAuth::Secrets(&[Secret::new("one"), Secret::new("two")])));
    assert_eq!(secrets.turn_transports, TurnTransport::ALL);
    let tcp = turn(&[("TURN_SECRET", "s"), ("TURN_TRANSPORTS", "TCP, tcp"), ("TURN_TLS_PORT", "5349")]).unwrap();
    assert_eq!((tcp.turn_transports, tcp.turn_tls_port), (vec![TurnTransport::Tcp], Some(5349)));
    let fixed = turn(&[("TURN_USERNAME", "u"), ("TURN_PASSWORD", "p")]).unwrap();
    assert_eq!(fixed.turn_auth(), Some(TurnAuth::Fixed { username: "u", password: &Secret::new("p") }));
    assert!(turn(&[("TURN_USERNAME", "u")]).unwrap_err().to_string().contains("TURN_PASSWORD"));
    assert!(warnings(&[("TURN_SECRET", "one")])[0].contains("TURN_HOST"));
    assert_eq!(Config::from_pairs(&[("TURN_SECRET", "one")]).unwrap().turn_auth(), None);
}

#[test]
fn secrets_are_never_shown() {
    let password = "hunter2-hunter2-hunter2-hunter2-hunter2";
    let url = format!("postgres://mesh:{password}@db/mesh");
    let bus = format!("nats://{password}@bus:4222");
    let config = Config::from_pairs(&[
        ("MESH_JWT_SECRET", password),
        ("TURN_HOST", "turn.example.org"),
        ("TURN_SECRET", password),
        ("TURN_PASSWORD", password),
        ("GOTIFY_TOKEN", password),
        ("DATABASE_URL", &url),
        ("MESH_BUS_URL", &bus),
    ])
    .unwrap();
    let unsupported = config.unsupported().unwrap_err();
    let json = config.dump_json();
    for text in
        [config.dump(), json.clone(), format!("{config:?}"), config.database_url.to_string(), unsupported.to_string()]
    {
        assert!(!text.contains("hunter2") && text.contains("***"), "{text}");
    }
    assert_eq!(config.jwt_secret.unwrap().expose(), password);
    let json: BTreeMap<String, serde_json::Value> = serde_json::from_str(&json).unwrap();
    assert_eq!(json.len(), TABLE.len());
    assert_eq!(json["MESH_JWT_SECRET"], serde_json::json!({"value": "***", "source": "environment"}));
    assert_eq!(json["DATABASE_URL"]["value"], "postgres://mesh:***@db/mesh");
    assert_eq!(json["GOTIFY_URL"]["value"], serde_json::Value::Null);

    assert_eq!(refusal("MESH_JWT_SECRET", "hunter2"), "MESH_JWT_SECRET=***: expected at least 32 characters");
    let misplaced = [
        ("DATABASE_URL", "mysql://u:hunter2@h/d"),
        ("DATABASE_URL", "postgresql//u:hunter2@h/d"),
        ("MESH_BUS_URL", "nats://u:hunter2@"),
        ("GOTIFY_URL", "https://u:hunter2@gotify.example.org"),
        ("MESH_JWT_SECRET", "hunter2\nhunter2"),
        ("TURN_SECRET", "hunter2\u{7}"),
    ];
    for (name, value) in misplaced {
        let line = refusal(name, value);
        assert!(line.starts_with(name) && !line.contains("hunter2"), "{line}");
    }
    let (_, warnings) = load(&["--jwt-secret", password], &[], None).unwrap();
    assert!(warnings[0].contains("--jwt-secret-file") && !warnings[0].contains("hunter2"));
}

#[test]
fn secrets_come_from_files() {
    let folder = Folder::new();
    let path = folder.file("jwt", &format!("{LONG} \r\n"));
    let (config, warnings) = load(&[], &[("MESH_JWT_SECRET_FILE", &path)], None).unwrap();
    assert!(warnings.is_empty());
    assert_eq!(
        config.jwt_secret.as_ref().unwrap().expose(),
        format!("{LONG} "),
        "one newline is trimmed, nothing else"
    );
    assert!(config.dump().contains("MESH_JWT_SECRET=***  # environment (MESH_JWT_SECRET_FILE)\n"));

    let url = folder.file("url", "postgresql://u:p@h/d\n");
    let (config, _) = load(&["--database-url-file", &url], &[("DATABASE_URL", "sqlite://")], None).unwrap();
    assert_eq!(config.database_url, DatabaseUrl::Postgres("postgresql://u:p@h/d".to_owned()));
    let dotenv = format!("MESH_JWT_SECRET_FILE={path}");
    let (config, _) = load(&[], &[("MESH_JWT_SECRET", &LONG.to_uppercase())], Some(&dotenv)).unwrap();
    assert_eq!(config.jwt_secret.unwrap().expose(), LONG.to_uppercase(), "a stronger source wins in either form");

    let both = load(&[], &[("MESH_JWT_SECRET", LONG), ("MESH_JWT_SECRET_FILE", &path)], None).unwrap_err().to_string();
    assert!(both.contains("only one of MESH_JWT_SECRET and MESH_JWT_SECRET_FILE"), "{both}");
    let both = load(&["--turn-secret=a", "--turn-secret-file=b"], &[], None).unwrap_err().to_string();
    assert!(both.contains("only one of --turn-secret and --turn-secret-file"), "{both}");

    let short = refusal("MESH_JWT_SECRET_FILE", &folder.file("short", "hunter2\n"));
    assert!(
        short.starts_with("MESH_JWT_SECRET=***: ") && short.contains("short, named by MESH_JWT_SECRET_FILE"),
        "{short}"
    );
    fs::write(folder.0.join("binary"), [0xff, 0xfe]).unwrap();
    let absent = folder.0.join("absent").display().to_string();
    let directory = folder.0.display().to_string();
    let binary = folder.0.join("binary").display().to_string();
    let large = folder.file("large", &"x".repeat(65 * 1024));
    for path in [&absent, &directory, &binary, &large, &folder.file("empty", "\n")] {
        let line = refusal("TURN_PASSWORD_FILE", path);
        assert!(line.starts_with("TURN_PASSWORD_FILE=") && line.contains("expected a readable file"), "{line}");
    }
}

#[test]
fn a_malformed_dotenv_names_the_line_and_not_its_text() {
    let line = load(&[], &[], Some("# fine\nMESH_PORT=1\n\nTURN_PASSWORD='hunter2\n")).unwrap_err().to_string();
    assert!(line.contains(".env line 4: expected NAME=value") && !line.contains("hunter2"), "{line}");
    let line = load(&[], &[], Some("MESH_PORT 8000")).unwrap_err().to_string();
    assert!(line.contains(".env line 1"), "{line}");
    let folder = Folder::new();
    fs::write(folder.0.join("latin1"), b"A=\xe9").unwrap();
    let error = Config::load(None, pairs(&[]), &folder.0.join("latin1")).unwrap_err();
    assert!(error.to_string().contains("not UTF-8"));
    assert!(Config::load(None, pairs(&[]), &folder.0).unwrap_err().to_string().contains("cannot be read"));
    assert_eq!(load(&[], &[], Some("\u{feff}MESH_PORT=7\r\nOTHER=x\r\n")).unwrap().0.port, 7);
}

#[test]
fn unknown_variables_are_warned_of_with_the_nearest_name() {
    let cases = [
        ("MESH_PROT", "MESH_PORT"),
        ("MESH_LOG_LEVEL", "LOG_LEVEL"),
        ("MESH_DATABASE_URL", "DATABASE_URL"),
        ("MESH_JWT_SECRET_FIEL", "MESH_JWT_SECRET_FILE"),
        ("MESH_ACCESS_TOKEN_EXPIRE_MINUTES", "MESH_JWT_ACCESS_TOKEN_EXPIRE_MINUTES"),
        ("MESH_CORS_ORIGIN", "MESH_CORS_ORIGINS"),
    ];
    for (name, nearest) in cases {
        let text = warnings(&[(name, "x")]).join("\n");
        assert!(text.contains(name) && text.ends_with(&format!("nearest known one is {nearest}")), "{text}");
    }
    assert!(warnings(&[("PATH", "/bin"), ("MESHES", "x"), ("MESH_PORT", "1")]).is_empty());
    assert!(load(&[], &[], Some("MESH_PROT=1")).unwrap().1[0].contains("(.env)"));
}

#[test]
fn later_features_are_refused_or_warned_of() {
    let unsupported =
        |name, value| Config::from_pairs(&[(name, value)]).unwrap().unsupported().unwrap_err().to_string();
    for value in ["EdDSA", "ES256", "RS256"] {
        assert_eq!(Config::from_pairs(&[("MESH_JWT_ALGORITHM", value)]).unwrap().unsupported(), Ok(()));
    }
    assert_eq!(Config::from_pairs(&[("MESH_REGISTRATION", "invite")]).unwrap().unsupported(), Ok(()));
    assert!(unsupported("MESH_BUS_URL", "nats://bus:4222").starts_with("MESH_BUS_URL=nats://bus:4222: "));
}

#[test]
fn push_that_goes_nowhere_is_warned_of() {
    let (gotify, ntfy) =
        (("GOTIFY_URL", "https://gotify.example.org/"), ("NTFY_URL", "https://ntfy.example.org/topic"));
    assert!(warnings(&[gotify, ("GOTIFY_TOKEN", "token")]).is_empty() && warnings(&[ntfy]).is_empty());
    for (set, words) in [
        (&[("GOTIFY_TOKEN", "hunter2")][..], "GOTIFY_TOKEN has no effect without GOTIFY_URL"),
        (&[("NTFY_TOKEN", "hunter2")], "NTFY_TOKEN has no effect without NTFY_URL"),
        (&[gotify, ntfy], "NTFY_URL has no effect beside GOTIFY_URL"),
    ] {
        assert_eq!(warnings(set), [words]);
    }
    for bad in ["https://ntfy.example.org", "https://ntfy.example.org/", "https://ntfy.example.org/a.b", "topic"] {
        assert!(Config::from_pairs(&[("NTFY_URL", bad)]).is_err(), "{bad}");
    }
}

#[test]
fn a_key_file_without_its_algorithm_is_warned_of() {
    let file = ("MESH_JWT_PRIVATE_KEY_FILE", "key.pem");
    let warned = warnings(&[file]);
    assert!(warned.len() == 1 && warned[0].contains("no effect with MESH_JWT_ALGORITHM=HS256"), "{warned:?}");
    assert!(warnings(&[file, ("MESH_JWT_ALGORITHM", "EdDSA")]).is_empty());
}

#[test]
fn several_secrets_are_split_where_each_is_long_enough() {
    let (old, short) = (LONG.to_uppercase(), "hunter2");
    let parts = |text: &str| Secret::new(text).parts().into_iter().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(parts(&format!("{LONG}, {old}")), [LONG, old.as_str()]);
    for one in [LONG.to_owned(), format!(" {LONG} "), format!("{LONG},{short}"), format!("{LONG},")] {
        assert_eq!(parts(&one), [one.as_str()], "a comma may belong to a secret");
    }
}

#[test]
fn the_table_is_whole_ordered_and_consistent() {
    let names: Vec<&str> = TABLE.iter().map(|v| v.name).collect();
    let contract = "MESH_PUBLIC_URL MESH_HOST MESH_PORT MESH_JWT_SECRET MESH_JWT_ALGORITHM MESH_JWT_PRIVATE_KEY_FILE \
                    MESH_JWT_ACCESS_TOKEN_EXPIRE_MINUTES MESH_JWT_REFRESH_TOKEN_EXPIRE_DAYS MESH_RETENTION_DAYS DATABASE_URL GOTIFY_URL \
                    GOTIFY_TOKEN NTFY_URL NTFY_TOKEN MESH_PUSH_CONTENT STUN_URL TURN_HOST TURN_PORT TURN_TRANSPORTS \
                    TURN_TLS_PORT TURN_SECRET TURN_USERNAME TURN_PASSWORD TURN_TTL_SECONDS \
                    LOG_LEVEL MESH_LOG_FORMAT MESH_REGISTRATION MESH_BCRYPT_COST MESH_LOGIN_ATTEMPTS \
                    MESH_EVENTS_PER_SECOND MESH_MAX_MESSAGE_CHARS MESH_WS_COMPRESSION MESH_CORS_ORIGINS MESH_TRUSTED_PROXIES \
                    MESH_BACKUP_DIR MESH_BACKUP_EVERY_HOURS MESH_BACKUP_KEEP OTEL_EXPORTER_OTLP_ENDPOINT OTEL_EXPORTER_OTLP_HEADERS \
                    OTEL_SERVICE_NAME OTEL_TRACES_SAMPLER_ARG MESH_TLS_CERT MESH_TLS_KEY \
                    MESH_METRICS_ADDR MESH_BUS_URL MESH_SHUTDOWN_SECONDS MESH_DRAIN_SECONDS";
    assert_eq!(names.join(" "), contract);
    let flag = |name: &str| name.strip_prefix("MESH_").unwrap_or(name).to_lowercase().replace('_', "-");
    for v in TABLE {
        assert_eq!(v.flag, flag(v.name));
        assert_eq!(v.file.is_some(), v.secrecy != Secrecy::Plain, "{}", v.name);
        if let Some(form) = v.file {
            assert_eq!((form.name, form.flag), (format!("{}_FILE", v.name).as_str(), flag(form.name).as_str()));
        }
        for text in [v.doc, v.unset].into_iter().chain(v.later) {
            assert!(!text.en.is_empty() && !text.fr.is_empty() && !text.en.ends_with('.') && !text.fr.ends_with('.'));
        }
    }
    Command::new("mesh-server").args(clap_args()).subcommand(Command::new("serve")).debug_assert();
}

#[test]
fn env_example_uncommented_is_the_default() {
    let text = env_example();
    let uncommented: String = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with(' ') => format!("{setting}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    assert_eq!(uncommented.lines().filter(|l| l.contains('=') && !l.starts_with('#')).count(), TABLE.len());
    let (example, warnings) = load(&[], &[], Some(&uncommented)).unwrap();
    let (default, _) = load(&[], &[], None).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(example.dump().replace("# .env", "# default"), default.dump());
    assert_eq!(load(&[], &[], Some(&text)).unwrap().0.dump(), default.dump(), "as it stands it changes nothing");
}

#[test]
fn the_dump_can_be_read_back() {
    let (first, _) = load(&[], &[("MESH_CORS_ORIGINS", "https://a.example, https://b.example")], None).unwrap();
    let (second, _) = load(&[], &[], Some(&first.dump())).unwrap();
    assert_eq!(first.cors_origins, second.cors_origins);
    assert_eq!(first.dump().lines().count(), TABLE.len());
}

#[test]
fn readme_tables_have_a_row_for_each_variable() {
    for table in [readme_table(), readme_table_fr()] {
        assert_eq!(table.lines().count(), TABLE.len() + 2);
        for (line, variable) in table.lines().skip(2).zip(TABLE) {
            assert!(line.starts_with(&format!("| `{}` | ", variable.name)), "{line}");
            assert_eq!(line.replace("\\|", "").matches('|').count(), 4, "{line}");
        }
    }
    assert!(readme_table().contains("| `MESH_PORT` | `8000` | Port to listen on; 0 lets the system choose. |"));
    assert!(readme_table_fr().contains("| `MESH_HOST` | `0.0.0.0` | Adresse d'écoute. |"));
}
