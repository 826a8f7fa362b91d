//! What a row of the table says of a variable.

use super::Config;

/// A text in the languages of the documentation; a sentence without its full stop.
#[derive(Debug, Clone, Copy)]
pub struct Text {
    /// English.
    pub en: &'static str,
    /// French.
    pub fr: &'static str,
}

/// What of a value may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrecy {
    /// All of it.
    Plain,
    /// Nothing.
    Secret,
    /// A URL that may hold a password: all but that.
    UrlPassword,
}

/// The `NAME_FILE` form of a variable that may hold a secret.
#[derive(Debug, Clone, Copy)]
pub struct FileForm {
    /// `NAME_FILE`.
    pub name: &'static str,
    /// Its flag, without the dashes.
    pub flag: &'static str,
}

/// One variable.
#[derive(Debug)]
pub struct Variable {
    /// Its name in the environment and in `.env`.
    pub name: &'static str,
    /// Its flag, without the dashes: the name in lower case, without `MESH_`.
    pub flag: &'static str,
    /// The built-in value, in the form in which it would be set.
    pub default: Option<&'static str>,
    /// What holds when it is unset and there is no default.
    pub unset: Text,
    /// Its meaning.
    pub doc: Text,
    /// What of it may be shown.
    pub secrecy: Secrecy,
    /// The form that names a file.
    pub file: Option<FileForm>,
    /// What of it comes with a later release.
    pub later: Option<Text>,
    /// Parses a value into its field; the error says what is accepted.
    pub(super) set: fn(&mut Config, &str) -> Result<(), String>,
}

pub(super) const fn text(en: &'static str, fr: &'static str) -> Text {
    Text { en, fr }
}

/// What most rows have in common.
pub(super) const fn row(
    name: &'static str,
    flag: &'static str,
    doc: Text,
    set: fn(&mut Config, &str) -> Result<(), String>,
) -> Variable {
    Variable {
        name,
        flag,
        default: None,
        unset: text("none", "aucun"),
        doc,
        secrecy: Secrecy::Plain,
        file: None,
        later: None,
        set,
    }
}

impl Variable {
    pub(super) const fn default(mut self, value: &'static str) -> Self {
        self.default = Some(value);
        self
    }

    pub(super) const fn unset(mut self, en: &'static str, fr: &'static str) -> Self {
        self.unset = text(en, fr);
        self
    }

    pub(super) const fn later(mut self, en: &'static str, fr: &'static str) -> Self {
        self.later = Some(text(en, fr));
        self
    }

    pub(super) const fn secrecy(mut self, secrecy: Secrecy, name: &'static str, flag: &'static str) -> Self {
        self.secrecy = secrecy;
        self.file = Some(FileForm { name, flag });
        self
    }
}
