//! The secret that signs tokens when none is configured: made at the first start, kept beside the database.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::parse::MIN_JWT_SECRET;
use super::{Config, DatabaseUrl, Secret};

/// The variable that all errors here are about.
const VARIABLE: &str = "MESH_JWT_SECRET";

/// Bytes of randomness in a new secret: twice that many hexadecimal digits.
const BYTES: usize = 32;

/// More than any secret needs.
const MAX_FILE: u64 = 64 * 1024;

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
    create(path).map_err(|e| failed(path, "made", &e))?;
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
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(path, "read", &e)),
    };
    let warning = file.metadata().ok().and_then(|meta| access_warning(path, &meta));
    let mut text = String::new();
    file.take(MAX_FILE).read_to_string(&mut text).map_err(|e| failed(path, "read", &e))?;
    let text = text.trim_end_matches(['\n', '\r']);
    if text.chars().count() < MIN_JWT_SECRET {
        let message = format!(
            "{} holds fewer than {MIN_JWT_SECRET} characters; expected at least {MIN_JWT_SECRET}, or no such file, so that a \
             new one is made (all sessions end then)",
            path.display()
        );
        return Err(ConfigError::about(VARIABLE, &message));
    }
    Ok(Some((Secret::new(text), warning)))
}

#[cfg(unix)]
fn access_warning(path: &Path, meta: &fs::Metadata) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = meta.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| {
        let path = path.display();
        format!("{path} can be read or changed by others (mode {mode:04o}) and signs every token: chmod 600 {path}")
    })
}

#[cfg(not(unix))]
fn access_warning(_path: &Path, _meta: &fs::Metadata) -> Option<String> {
    None
}

/// Writes a new secret to a file of its own and links it to its name only when it is whole and on disk: nobody ever reads
/// half a secret, and a file that is there already is kept.
fn create(path: &Path) -> std::io::Result<()> {
    let line = format!("{}\n", random_hex().map_err(|e| std::io::Error::other(e.to_string()))?);
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let suffix = random_hex().map_err(|e| std::io::Error::other(e.to_string()))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".{name}.{}.tmp", suffix.get(..16).unwrap_or(&suffix)));
    let result = write_new(&temporary, &line).and_then(|()| match fs::hard_link(&temporary, path) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => {
            // A file system without hard links (FAT, some container mounts). `create_new` still lets only one process win;
            // the other may see a file that is not yet whole, and says so rather than signing with another secret.
            match write_new(path, &line) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
                other => other,
            }
        }
        _ => Ok(()),
    });
    // The secret stands under its own name now, or not at all. A leftover (mode 0600) would harm nobody.
    let _ = fs::remove_file(&temporary);
    result?;
    sync_folder(folder);
    Ok(())
}

/// Makes the file, which must not exist, readable by its owner alone, and puts it on disk.
fn write_new(path: &Path, line: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    file.write_all(line.as_bytes())?;
    file.sync_all()
}

/// Puts the new name on disk. Some file systems can't; then a power cut may cost the secret, and a new one is made.
fn sync_folder(folder: &Path) {
    if let Ok(handle) = File::open(folder) {
        let _ = handle.sync_all();
    }
}

fn random_hex() -> Result<String, ConfigError> {
    let mut bytes = [0_u8; BYTES];
    getrandom::fill(&mut bytes).map_err(|e| {
        let message = format!("the system gives no randomness ({e}); expected a secret in {VARIABLE}");
        ConfigError::about(VARIABLE, &message)
    })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
