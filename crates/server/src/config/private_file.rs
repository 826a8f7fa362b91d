//! The files that hold secrets, and whether others have access to them.

use std::path::{Path, PathBuf};

use super::{
    Config, Secrecy, Source, TABLE,
    key_file::{LOOSE, LOOSE_NAMED, key_path},
    secret_file::secret_path,
};

/// A file that holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivateFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it holds, in a few words.
    pub holds: String,
    /// Permission bits that it must not have.
    pub loose: u32,
}

impl Config {
    /// The files that hold secrets of these settings: what the server keeps for itself, what `NAME_FILE` names, and
    /// `dotenv` where a secret is set in it. Not each need be there.
    #[must_use]
    pub fn private_files(&self, dotenv: &Path) -> Vec<PrivateFile> {
        let mut files = Vec::new();
        let mut add = |path: PathBuf, holds: String, loose| files.push(PrivateFile { path, holds, loose });
        if self.jwt_secret.is_none()
            && let Some(path) = secret_path(&self.database_url)
        {
            add(path, "the secret that signs and seals".to_owned(), LOOSE);
        }
        if self.jwt_algorithm.is_asymmetric() {
            let holds = || "the keys that sign tokens".to_owned();
            match &self.jwt_private_key_file {
                Some(path) => add(path.clone(), holds(), LOOSE_NAMED),
                None => {
                    if let Some(path) = key_path(&self.database_url, self.jwt_algorithm) {
                        add(path, holds(), LOOSE);
                    }
                }
            }
        }
        for setting in &self.settings {
            if let Some(path) = &setting.path {
                add(PathBuf::from(path.trim()), setting.name.to_owned(), LOOSE_NAMED);
            }
        }
        let secret = |name: &str| TABLE.iter().any(|v| v.name == name && v.secrecy != Secrecy::Plain);
        let set_there = |s: &&super::print::Setting| s.source == Source::DotEnv && s.path.is_none() && secret(s.name);
        let names: Vec<_> = self.settings.iter().filter(set_there).map(|s| s.name).collect();
        if !names.is_empty() {
            add(dotenv.to_owned(), names.join(", "), LOOSE);
        }
        files
    }

    /// Whether the secret and the keys that sign are there already: a start would make them.
    #[must_use]
    pub fn can_sign(&self) -> bool {
        let secret = self.jwt_secret.is_some() || secret_path(&self.database_url).is_some_and(|path| path.exists());
        let named = self.jwt_private_key_file.clone();
        let key = || named.or_else(|| key_path(&self.database_url, self.jwt_algorithm));
        secret && (!self.jwt_algorithm.is_asymmetric() || key().is_some_and(|path| path.exists()))
    }
}
