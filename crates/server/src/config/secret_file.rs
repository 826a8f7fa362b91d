//! The secret that signs tokens when none is configured: made at the first start, kept beside the database.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::parse::MIN_JWT_SECRET;
use super::{Config, DatabaseUrl, Secret, kept_file};

/// The variable that all errors here are about.
const VARIABLE: &str = "MESH_JWT_SECRET";

/// Bytes of randomness in a new secret: twice that many hexadecimal digits.
const BYTES: usize = 32;

/// The signing secret: the configured one, else the one kept beside the database (made now if there is none yet). A
/// database in memory gets one that is kept nowhere: its sessions end with the process too.
///
/// The second value is a warning if others than the owner have access to the file.
///
/// # Errors
/// When the file cannot be read or made, or holds too short a secret; the file is never replaced.
pub fn load_or_create_secret(config: &Config) -> Result<(Secret, Option<String>), ConfigError> {
    if let Some(secret) = &config.jwt_secret {
        return Ok((secret.clone(), None));
    }
    match secret_path(&config.database_url) {
        None => Ok((Secret::new(random_hex()?), None)),
        Some(path) => load_or_create_at(&path),
    }
}

/// Where the secret is kept; `None` if it is not.
pub(super) fn secret_path(database: &DatabaseUrl) -> Option<PathBuf> {
    match database {
        DatabaseUrl::SqliteMemory => None,
        DatabaseUrl::Postgres(_) => Some(PathBuf::from("mesh.secret")),
        DatabaseUrl::SqliteFile(file) => {
            let path = file.with_extension("secret");
            // a database that is itself called `….secret` must not be read as one
            Some(if path == *file { file.with_extension("secret.jwt") } else { path })
        }
    }
}

pub(super) fn load_or_create_at(path: &Path) -> Result<(Secret, Option<String>), ConfigError> {
    if let Some(found) = read(path)? {
        return Ok(found);
    }
    kept_file::create(path, &format!("{}\n", random_hex()?)).map_err(|e| failed(path, "made", &e))?;
    // What is read is what counts: of two processes that start at once, both get the one that was linked first.
    match read(path)? {
        Some(found) => Ok(found),
        None => Err(failed(path, "read", &ErrorKind::NotFound.into())),
    }
}

fn failed(path: &Path, what: &str, error: &std::io::Error) -> ConfigError {
    let message = format!(
        "{} cannot be {what} ({error}); expected a folder that the server may write to, or a secret in {VARIABLE}",
        path.display()
    );
    ConfigError::about(VARIABLE, &message)
}

/// The secret in the file, with the warning about its mode; `None` if there is no such file.
fn read(path: &Path) -> Result<Option<(Secret, Option<String>)>, ConfigError> {
    let Some((text, mode)) = kept_file::read(path).map_err(|e| failed(path, "read", &e))? else { return Ok(None) };
    let text = text.trim_end_matches(['\n', '\r']);
    if text.chars().count() < MIN_JWT_SECRET {
        let message = format!(
            "{} holds fewer than {MIN_JWT_SECRET} characters; expected at least {MIN_JWT_SECRET}, or no such file, so that a \
             new one is made (all sessions end then)",
            path.display()
        );
        return Err(ConfigError::about(VARIABLE, &message));
    }
    Ok(Some((Secret::new(text), kept_file::access_warning(path, mode, 0o077))))
}

fn random_hex() -> Result<String, ConfigError> {
    let mut bytes = [0_u8; BYTES];
    getrandom::fill(&mut bytes).map_err(|e| {
        let message = format!("the system gives no randomness ({e}); expected a secret in {VARIABLE}");
        ConfigError::about(VARIABLE, &message)
    })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
