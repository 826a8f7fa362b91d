//! Whether others have access to the files that hold secrets.

use std::{fs::Metadata, io::ErrorKind, path::Path};

use super::{Check, trouble};
use crate::config::{Config, PrivateFile};

const NAME: &str = "secret_files";

/// What is wrong with a file and how to mend it; none where all is well, or it is not there yet.
fn wrong(file: &PrivateFile) -> Option<(String, String)> {
    let path = file.path.display();
    let meta = match std::fs::metadata(&file.path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == ErrorKind::NotFound => return None,
        Err(e) => {
            return Some((
                format!("{path} ({}) cannot be looked at: {e}", file.holds),
                format!("chown it to the user of the server: {path}"),
            ));
        }
    };
    judge(file, &meta)
}

#[cfg(unix)]
fn judge(file: &PrivateFile, meta: &Metadata) -> Option<(String, String)> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let (path, holds) = (file.path.display(), &file.holds);
    let mode = meta.permissions().mode() & 0o777;
    let us = rustix::process::geteuid().as_raw();
    // A file of root's that the server's group may read is how packages keep settings.
    let loose = if meta.uid() == 0 && us != 0 { file.loose & !0o040 } else { file.loose };
    if mode & loose != 0 {
        let what = if mode & loose & 0o022 != 0 { "changed" } else { "read" };
        return Some((
            format!("{path} ({holds}) can be {what} by others (mode {mode:04o})"),
            format!("chmod 600 {path}"),
        ));
    }
    if meta.uid() != us && meta.uid() != 0 {
        let sentence =
            format!("{path} ({holds}) belongs to another user (uid {}, the doctor runs as {us})", meta.uid());
        return Some((
            sentence,
            format!("chown it to the user of the server, and run the doctor as that user: {path}"),
        ));
    }
    let folder = file.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder_mode = std::fs::metadata(folder).map_or(0, |m| m.permissions().mode());
    // Without the sticky bit, whoever may write a folder may replace what is in it.
    if folder_mode & 0o002 != 0 && folder_mode & 0o1000 == 0 {
        let folder = folder.display();
        return Some((
            format!(
                "{folder}, in which {path} ({holds}) stands, can be changed by everybody (mode {:04o})",
                folder_mode & 0o777
            ),
            format!("chmod o-w {folder}"),
        ));
    }
    None
}

#[cfg(not(unix))]
fn judge(_file: &PrivateFile, _meta: &Metadata) -> Option<(String, String)> {
    None
}

pub(super) fn check(config: &Config, dotenv: &Path) -> Check {
    let files = config.private_files(dotenv);
    let there: Vec<_> = files.iter().filter(|file| file.path.exists()).map(|f| f.path.display().to_string()).collect();
    let (sentences, mends): (Vec<_>, Vec<_>) = files.iter().filter_map(wrong).unzip();
    if !sentences.is_empty() {
        return Check::of(NAME, Err(trouble(sentences.join("; "), mends.join("; "))));
    }
    if there.is_empty() {
        return Check::skipped(NAME, "no file holds a secret: none is made yet, or all come by the environment");
    }
    Check::of(NAME, Ok(format!("only their owner has access where it matters: {}", there.join(", "))))
}
