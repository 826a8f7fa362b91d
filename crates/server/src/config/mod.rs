//! Configuration: one table of variables ([`TABLE`]) that drives parsing, flags, masking, `.env.example` and the README.
//!
//! Read, later wins: built-in default, `.env`, environment, command-line flag. Nothing here reads or changes the process's
//! environment by itself (save that a `$NAME` inside `.env` is looked up there, by dotenvy): the caller passes it in, see
//! [`process_env`].

mod cidr;
mod database;
mod error;
mod kept_file;
mod key_file;
mod parse;
mod print;
mod private_file;
mod secret_file;
mod source;
mod table;
#[cfg(test)]
mod tests;
mod values;
mod variable;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

pub use cidr::Cidr;
pub use database::DatabaseUrl;
pub use error::ConfigError;
pub use key_file::{KeyFile, load_or_create_keys};
pub use print::{SETTINGS, clap_args, env_example, readme_table, readme_table_fr};
pub use private_file::PrivateFile;
pub use secret_file::load_or_create_secret;
pub use source::{Source, process_env};
pub use table::TABLE;
pub use values::{CorsOrigins, JwtAlgorithm, LogFormat, Registration, Secret, TurnAuth, TurnTransport};
pub use variable::{FileForm, Secrecy, Text, Variable};

use print::{MASK, Setting};
use source::{Found, Layer};

use crate::domain::push::PushContent;

/// Every setting, checked. `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where clients reach the server, without a trailing slash: `iss` of tokens, base of invite links.
    pub public_url: String,
    /// The address to listen on.
    pub host: IpAddr,
    /// The port to listen on; 0 lets the system choose.
    pub port: u16,
    /// The configured signing secret, see [`load_or_create_secret`]; or several, see [`Secret::parts`].
    pub jwt_secret: Option<Secret>,
    /// How tokens are signed.
    pub jwt_algorithm: JwtAlgorithm,
    /// The private keys of an asymmetric algorithm; see [`load_or_create_keys`].
    pub jwt_private_key_file: Option<PathBuf>,
    /// Life of an access token.
    pub access_token_minutes: u32,
    /// A session unused for so long is over.
    pub refresh_token_days: u32,
    /// How long messages are kept, days; for ever where it is none. A room may keep its own for less.
    pub retention_days: Option<u32>,
    /// Where the data lives.
    pub database_url: DatabaseUrl,
    /// The Gotify server, without a trailing slash.
    pub gotify_url: Option<String>,
    /// The application token for those who set none of their own.
    pub gotify_token: Option<Secret>,
    /// A topic of an ntfy server, for push without Gotify.
    pub ntfy_url: Option<String>,
    /// ntfy's access token.
    pub ntfy_token: Option<Secret>,
    /// How much of a message push tells.
    pub push_content: PushContent,
    /// STUN servers: `stun:host:port`.
    pub stun_urls: Vec<String>,
    /// The TURN server, IPv6 in brackets; if it is set, [`Config::turn_auth`] is too.
    pub turn_host: Option<String>,
    /// Its port.
    pub turn_port: u16,
    /// How clients reach it; the first is tried first.
    pub turn_transports: Vec<TurnTransport>,
    /// Its port for TLS, if it has one.
    pub turn_tls_port: Option<u16>,
    /// coturn's `static-auth-secret`s; the first signs.
    pub turn_secrets: Vec<Secret>,
    /// User name for all, if there is no secret.
    pub turn_username: Option<String>,
    /// Password for all, if there is no secret.
    pub turn_password: Option<Secret>,
    /// Life of ephemeral TURN credentials.
    pub turn_ttl_seconds: u32,
    /// A filter for `tracing`.
    pub log_level: String,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// Who may make an account.
    pub registration: Registration,
    /// The cost of password hashes.
    pub bcrypt_cost: u32,
    /// Failed logins a minute for an account.
    pub login_attempts: u32,
    /// A connection's events a second.
    pub events_per_second: u32,
    /// Longest message.
    pub max_message_chars: u32,
    /// Messages are compressed for clients that offer it.
    pub ws_compression: bool,
    /// Which web pages may call.
    pub cors_origins: CorsOrigins,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Cidr>,
    /// Where backups are made by themselves.
    pub backup_dir: Option<PathBuf>,
    /// How often, hours.
    pub backup_every_hours: u32,
    /// How many are kept.
    pub backup_keep: u32,
    /// Where traces are sent, without a trailing slash.
    pub otlp_endpoint: Option<String>,
    /// What is sent along with them: names and values.
    pub otlp_headers: Vec<(String, Secret)>,
    /// Which share of traces is recorded, in millionths.
    pub trace_sample_ppm: u32,
    /// What the service is called in traces.
    pub otel_service_name: String,
    /// The certificate chain (PEM) with which the server speaks TLS itself; with it, [`Config::tls_key`] is set too.
    pub tls_cert: Option<PathBuf>,
    /// Its private key (PEM).
    pub tls_key: Option<PathBuf>,
    /// A port of its own for `/metrics`.
    pub metrics_addr: Option<SocketAddr>,
    /// The bus that joins several servers (later release); may hold a password.
    pub bus_url: Option<Secret>,
    /// How long a planned stop waits for what is under way.
    pub shutdown_seconds: u32,
    /// How long the server says that it is not ready before a planned stop begins.
    pub drain_seconds: u32,
    /// Each variable as it is shown, in the table's order.
    settings: Vec<Setting>,
}

impl Config {
    /// Reads every source and checks every value. The second value holds warnings for the log.
    ///
    /// `matches` are those of a command with [`clap_args`], `env` is usually [`process_env`]; `dotenv_path` is usually `.env`
    /// and need not exist.
    ///
    /// # Errors
    /// The first value that cannot be used, as one line.
    pub fn load(
        matches: Option<&clap::ArgMatches>,
        env: impl Iterator<Item = (String, String)>,
        dotenv_path: &Path,
    ) -> Result<(Self, Vec<String>), ConfigError> {
        // strongest first
        let layers = [
            (Source::Flag, matches.map(source::flags).unwrap_or_default()),
            (Source::Environment, env.collect()),
            (Source::DotEnv, source::dotenv(dotenv_path)?),
        ];
        Self::from_layers(&layers)
    }

    /// The configuration of these variables alone, without `.env`, environment or flags: for tests and tools.
    ///
    /// # Errors
    /// The first value that cannot be used, as one line.
    pub fn from_pairs(pairs: &[(&str, &str)]) -> Result<Self, ConfigError> {
        let layer = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self::from_layers(&[(Source::Environment, layer)]).map(|(config, _)| config)
    }

    fn from_layers(layers: &[(Source, Layer)]) -> Result<(Self, Vec<String>), ConfigError> {
        let mut config = Self::blank();
        let mut warnings = source::unknown(layers);
        for variable in TABLE {
            let found = source::find(variable, layers)?;
            if let Some(found) = &found
                && found.source == Source::Flag
                && found.file.is_none()
                && variable.secrecy == Secrecy::Secret
            {
                let flag = variable.flag;
                warnings
                    .push(format!("--{flag} shows a secret to everybody who can list processes: use --{flag}-file"));
            }
            config.take(variable, found)?;
        }
        config.check_turn(&mut warnings)?;
        config.check_keys(&mut warnings);
        config.check_tls(&mut warnings)?;
        config.check_push(&mut warnings);
        // depends on another variable, hence no default in the table
        if config.cors_origins == CorsOrigins::List(Vec::new()) {
            config.cors_origins = CorsOrigins::List(vec![parse::origin_of(&config.public_url)]);
        }
        Ok((config, warnings))
    }

    /// Sets one variable from what was found, else from its default, and notes how it is shown.
    fn take(&mut self, variable: &'static Variable, found: Option<Found>) -> Result<(), ConfigError> {
        let default =
            variable.default.map(|value| Found { value: value.to_owned(), source: Source::Default, file: None });
        let Some(found) = found.or(default) else {
            let (shown, source) = (None, Source::Default);
            self.settings.push(Setting { name: variable.name, shown, source, file: None, path: None });
            return Ok(());
        };
        // spaces around a secret may belong to it; around anything else they are a slip
        let value = if variable.secrecy == Secrecy::Secret { found.value.as_str() } else { found.value.trim() };
        let shown = variable.secrecy.show(value);
        let result = if value.contains(|c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER) {
            Err("expected UTF-8 text without control characters".to_owned())
        } else {
            (variable.set)(self, value)
        };
        if let Err(expected) = result {
            return Err(ConfigError::value(variable.name, &shown, &format!("{expected}{}", found.place(variable))));
        }
        let (file, path) = found.file.unzip();
        self.settings.push(Setting { name: variable.name, shown: Some(shown), source: found.source, file, path });
        Ok(())
    }

    /// Browsers refuse a whole call when a TURN server comes without credentials: better no start than no calls.
    fn check_turn(&self, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
        match (&self.turn_host, self.turn_credentials()) {
            (Some(host), None) => Err(ConfigError::value(
                "TURN_HOST",
                host,
                "expected TURN_SECRET as well, or both TURN_USERNAME and TURN_PASSWORD: clients need credentials",
            )),
            (None, Some(_)) => {
                warnings.push("TURN credentials have no effect without TURN_HOST".to_owned());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn check_keys(&self, warnings: &mut Vec<String>) {
        if self.jwt_private_key_file.is_some() && !self.jwt_algorithm.is_asymmetric() {
            warnings.push(format!(
                "MESH_JWT_PRIVATE_KEY_FILE has no effect with MESH_JWT_ALGORITHM={}: the secret signs",
                self.jwt_algorithm.as_str()
            ));
        }
    }

    fn check_tls(&self, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
        let shown = |path: &Path| path.display().to_string();
        match (&self.tls_cert, &self.tls_key) {
            (Some(cert), None) => {
                let expected = "expected MESH_TLS_KEY as well, the file with its private key";
                Err(ConfigError::value("MESH_TLS_CERT", &shown(cert), expected))
            }
            (None, Some(key)) => {
                let expected = "expected MESH_TLS_CERT as well, the file with its certificate";
                Err(ConfigError::value("MESH_TLS_KEY", &shown(key), expected))
            }
            (Some(_), Some(_)) if self.public_url.starts_with("http://") => {
                let words = "MESH_TLS_CERT is set, and MESH_PUBLIC_URL begins with http://: clients are sent to an address \
                             that does not speak TLS";
                warnings.push(words.to_owned());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn check_push(&self, warnings: &mut Vec<String>) {
        let mut warn = |set: bool, words: &str| {
            if set {
                warnings.push(words.to_owned());
            }
        };
        warn(self.gotify_url.is_none() && self.gotify_token.is_some(), "GOTIFY_TOKEN has no effect without GOTIFY_URL");
        warn(self.ntfy_url.is_none() && self.ntfy_token.is_some(), "NTFY_TOKEN has no effect without NTFY_URL");
        warn(self.gotify_url.is_some() && self.ntfy_url.is_some(), "NTFY_URL has no effect beside GOTIFY_URL");
    }

    /// Refuses what parses but comes with a later release, and must not be ignored in silence. To be called before serving.
    ///
    /// # Errors
    /// The first such value, with what is accepted now.
    pub fn unsupported(&self) -> Result<(), ConfigError> {
        if let Some(url) = &self.bus_url {
            let message = "joining several servers comes with a later release; accepted now: unset (one process)";
            return Err(ConfigError::value("MESH_BUS_URL", &database::mask_url(url.expose()), message));
        }
        if let Some(folder) = &self.backup_dir
            && !matches!(self.database_url, DatabaseUrl::SqliteFile(_))
        {
            let message = "expected DATABASE_URL to name an SQLite file: PostgreSQL is backed up by pg_dump, and a database in \
                           memory not at all";
            return Err(ConfigError::value("MESH_BACKUP_DIR", &folder.display().to_string(), message));
        }
        Ok(())
    }

    /// How clients get TURN credentials; `None` if there is no TURN server.
    #[must_use]
    pub fn turn_auth(&self) -> Option<TurnAuth<'_>> {
        self.turn_host.as_ref()?;
        self.turn_credentials()
    }

    fn turn_credentials(&self) -> Option<TurnAuth<'_>> {
        if !self.turn_secrets.is_empty() {
            return Some(TurnAuth::Secrets(&self.turn_secrets));
        }
        let username = self.turn_username.as_deref()?;
        let password = self.turn_password.as_ref()?;
        Some(TurnAuth::Fixed { username, password })
    }

    /// What stands before the table's defaults are applied, each of which overwrites its field: the defaults themselves are
    /// only in the table.
    fn blank() -> Self {
        Self {
            public_url: String::new(),
            host: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            port: 0,
            jwt_secret: None,
            jwt_algorithm: JwtAlgorithm::Hs256,
            jwt_private_key_file: None,
            access_token_minutes: 0,
            refresh_token_days: 0,
            retention_days: None,
            database_url: DatabaseUrl::SqliteMemory,
            gotify_url: None,
            gotify_token: None,
            ntfy_url: None,
            ntfy_token: None,
            push_content: PushContent::Full,
            stun_urls: Vec::new(),
            turn_host: None,
            turn_port: 0,
            turn_transports: Vec::new(),
            turn_tls_port: None,
            turn_secrets: Vec::new(),
            turn_username: None,
            turn_password: None,
            turn_ttl_seconds: 0,
            log_level: String::new(),
            log_format: LogFormat::Text,
            registration: Registration::Open,
            bcrypt_cost: 0,
            login_attempts: 0,
            events_per_second: 0,
            max_message_chars: 0,
            ws_compression: false,
            cors_origins: CorsOrigins::List(Vec::new()),
            trusted_proxies: Vec::new(),
            backup_dir: None,
            backup_every_hours: 0,
            backup_keep: 0,
            otlp_endpoint: None,
            otlp_headers: Vec::new(),
            trace_sample_ppm: 0,
            otel_service_name: String::new(),
            tls_cert: None,
            tls_key: None,
            metrics_addr: None,
            bus_url: None,
            shutdown_seconds: 0,
            drain_seconds: 0,
            settings: Vec::with_capacity(TABLE.len()),
        }
    }
}

impl Secrecy {
    /// The value as it may be shown.
    fn show(self, value: &str) -> String {
        match self {
            Self::Secret => MASK.to_owned(),
            Self::UrlPassword => database::mask_url(value),
            // a password that was put where none belongs is still a password
            Self::Plain if value.contains("://") => database::mask_url(value),
            Self::Plain => value.to_owned(),
        }
    }
}
