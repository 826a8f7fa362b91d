//! The file with the private keys of an asymmetric algorithm: made at the first start, kept beside the database.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::{Config, DatabaseUrl, JwtAlgorithm, Secret, kept_file};

/// The variable that all errors here are about.
const VARIABLE: &str = "MESH_JWT_PRIVATE_KEY_FILE";

/// Others than the owner can read or change a file that the server made.
pub(super) const LOOSE: u32 = 0o077;

/// The same of a file that the operator named: containers mount secrets readable by all, and read-only.
pub(super) const LOOSE_NAMED: u32 = 0o022;

/// What a key file holds.
#[derive(Debug)]
pub struct KeyFile {
    /// Private keys in PEM form; the first signs.
    pub pem: Secret,
    /// Where they are kept; `None` for keys that end with the process, as a database in memory does.
    pub path: Option<PathBuf>,
    /// Whether they were made now.
    pub made: bool,
    /// Who else has access to the file.
    pub warning: Option<String>,
}

impl KeyFile {
    /// The line for the operator about something wrong in the file.
    #[must_use]
    pub fn error(&self, message: &str) -> ConfigError {
        let place = self.path.as_ref().map_or_else(|| "the new key".to_owned(), |path| path.display().to_string());
        ConfigError::about(VARIABLE, &format!("{place}: {message}"))
    }
}

/// The private keys: in the file that is named, else beside the database. Where there is no such file, `make` makes a
/// key, which is kept there with mode 0600.
///
/// # Errors
/// When the file cannot be read or made; it is never replaced.
pub fn load_or_create_keys(
    config: &Config,
    make: impl FnOnce() -> Result<String, String>,
) -> Result<KeyFile, ConfigError> {
    let made = |made: Result<String, String>| made.map_err(|e| ConfigError::about(VARIABLE, &e));
    let (path, loose) = match &config.jwt_private_key_file {
        Some(path) => (path.clone(), LOOSE_NAMED),
        None => match key_path(&config.database_url, config.jwt_algorithm) {
            Some(path) => (path, LOOSE),
            None => {
                let pem = Secret::new(made(make())?);
                return Ok(KeyFile { pem, path: None, made: true, warning: None });
            }
        },
    };
    if let Some(found) = read(&path, loose)? {
        return Ok(found);
    }
    kept_file::create(&path, &made(make())?).map_err(|e| failed(&path, "made", &e))?;
    // What is read is what counts: of two processes that start at once, both get the one that was linked first.
    match read(&path, loose)? {
        Some(found) => Ok(KeyFile { made: true, ..found }),
        None => Err(failed(&path, "read", &ErrorKind::NotFound.into())),
    }
}

/// Where the keys are kept if nobody says where; `None` if they are not.
pub(super) fn key_path(database: &DatabaseUrl, algorithm: JwtAlgorithm) -> Option<PathBuf> {
    let extension = format!("{}.pem", algorithm.as_str().to_ascii_lowercase());
    match database {
        DatabaseUrl::SqliteMemory => None,
        DatabaseUrl::Postgres(_) => Some(PathBuf::from(format!("mesh.{extension}"))),
        DatabaseUrl::SqliteFile(file) => Some(file.with_extension(extension)),
    }
}

fn read(path: &Path, loose: u32) -> Result<Option<KeyFile>, ConfigError> {
    let found = kept_file::read(path).map_err(|e| failed(path, "read", &e))?;
    Ok(found.map(|(text, mode)| KeyFile {
        pem: Secret::new(text),
        path: Some(path.to_owned()),
        made: false,
        warning: kept_file::access_warning(path, mode, loose),
    }))
}

fn failed(path: &Path, what: &str, error: &std::io::Error) -> ConfigError {
    let message = format!(
        "{} cannot be {what} ({error}); expected a PEM file that the server may read, or a folder where it may make one",
        path.display()
    );
    ConfigError::about(VARIABLE, &message)
}
