//! Files that the server makes at its first start and keeps: whole or not there, and readable by their owner alone.

use std::fs::{self, File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::path::Path;

/// More than any secret or set of keys needs.
const MAX_FILE: u64 = 64 * 1024;

/// A file's text and its permission bits (0 where the system has none); `None` if there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<(String, u32)>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mode = file.metadata().map_or(0, |meta| mode(&meta));
    let mut text = String::new();
    file.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(Error::other("the file is larger than 64 KiB"));
    }
    Ok(Some((text, mode)))
}

#[cfg(unix)]
fn mode(meta: &fs::Metadata) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    meta.permissions().mode() & 0o777
}

#[cfg(not(unix))]
fn mode(_meta: &fs::Metadata) -> u32 {
    0
}

/// What to tell the operator where any of the permission bits in `loose` is set.
pub(super) fn access_warning(path: &Path, mode: u32, loose: u32) -> Option<String> {
    (mode & loose != 0).then(|| {
        let path = path.display();
        format!("{path} can be read or changed by others (mode {mode:04o}) and signs every token: chmod 600 {path}")
    })
}

/// Writes a text to a file of its own and links it to its name only when it is whole and on disk: nobody ever reads half
/// of it, and a file that is there already is kept.
pub(super) fn create(path: &Path, text: &str) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut suffix = [0_u8; 8];
    getrandom::fill(&mut suffix).map_err(|e| Error::other(e.to_string()))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".{name}.{:016x}.tmp", u64::from_be_bytes(suffix)));
    let result = write_new(&temporary, text).and_then(|()| match fs::hard_link(&temporary, path) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => {
            // A file system without hard links (FAT, some container mounts). `create_new` still lets only one process win;
            // the other may see a file that is not yet whole, and says so rather than signing with something else.
            match write_new(path, text) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
                other => other,
            }
        }
        _ => Ok(()),
    });
    // The text stands under its own name now, or not at all. A leftover (mode 0600) would harm nobody.
    let _ = fs::remove_file(&temporary);
    result?;
    sync_folder(folder);
    Ok(())
}

/// Makes the file, which must not exist, readable by its owner alone, and puts it on disk.
fn write_new(path: &Path, text: &str) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Puts the new name on disk. Some file systems can't; then a power cut may cost the file, and a new one is made.
fn sync_folder(folder: &Path) {
    if let Ok(handle) = File::open(folder) {
        let _ = handle.sync_all();
    }
}
