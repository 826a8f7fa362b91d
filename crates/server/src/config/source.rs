//! Where values come from: `.env`, environment, flags, and files named by `NAME_FILE`.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::Path;

use super::error::{ConfigError, one_line_full};
use super::table::TABLE;
use super::variable::{FileForm, Variable};

/// More than any secret or URL needs; a wrong path such as `/dev/zero` must not fill the memory.
const MAX_FILE: u64 = 64 * 1024;

/// The values of one source.
pub(super) type Layer = BTreeMap<String, String>;

/// Where a value in force was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Nowhere: it is the built-in one.
    Default,
    /// In `.env` of the working folder.
    DotEnv,
    /// In the process's environment.
    Environment,
    /// On the command line.
    Flag,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::DotEnv => ".env",
            Self::Environment => "environment",
            Self::Flag => "flag",
        })
    }
}

/// A value, and where it was found.
pub(super) struct Found {
    pub(super) value: String,
    pub(super) source: Source,
    /// `NAME_FILE` and the path, if the value was read from a file.
    pub(super) file: Option<(&'static str, String)>,
}

impl Found {
    /// For the end of an error line: where to look. Nothing for the environment, which `NAME=value` already says.
    pub(super) fn place(&self, variable: &Variable) -> String {
        match (&self.file, self.source) {
            (Some((name, path)), _) => format!(" (read from {path}, named by {name})"),
            (None, Source::DotEnv) => " (set in .env)".to_owned(),
            (None, Source::Flag) => format!(" (set by --{})", variable.flag),
            (None, Source::Default | Source::Environment) => String::new(),
        }
    }
}

/// The value of a variable from the strongest source that has one. An empty value counts as unset.
pub(super) fn find(variable: &Variable, layers: &[(Source, Layer)]) -> Result<Option<Found>, ConfigError> {
    for (source, layer) in layers {
        let get = |name: &str| layer.get(name).filter(|value| !value.trim().is_empty());
        let direct = get(variable.name);
        let named = variable.file.and_then(|form| get(form.name).map(|path| (form, path)));
        return match (direct, named) {
            (None, None) => continue,
            (Some(_), Some((form, _))) => Err(both(variable, form, *source)),
            (Some(value), None) => Ok(Some(Found { value: value.clone(), source: *source, file: None })),
            (None, Some((form, path))) => {
                let value = read_secret(form, path)?;
                Ok(Some(Found { value, source: *source, file: Some((form.name, path.clone())) }))
            }
        };
    }
    Ok(None)
}

fn both(variable: &Variable, form: FileForm, source: Source) -> ConfigError {
    let message = match source {
        Source::Flag => format!("expected only one of --{} and --{}", variable.flag, form.flag),
        _ => format!("expected only one of {} and {}, both are set ({source})", variable.name, form.name),
    };
    ConfigError::about(variable.name, &message)
}

/// The content of the file that `NAME_FILE` names, without the newline that editors put at its end.
fn read_secret(form: FileForm, path: &str) -> Result<String, ConfigError> {
    let refuse = |why: &str| {
        ConfigError::value(form.name, path, &format!("{why}; expected a readable file that holds the value"))
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path.trim()).map_err(|e| refuse(&e.to_string()))?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|e| refuse(&e.to_string()))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(refuse("the file is larger than 64 KiB"));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| refuse("the file is not UTF-8 text"))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.trim().is_empty() {
        return Err(refuse("the file is empty"));
    }
    Ok(text)
}

/// The values of a `.env` file, none if there is no such file. The process's environment is not changed.
pub(super) fn dotenv(path: &Path) -> Result<Layer, ConfigError> {
    let subject = path.display().to_string();
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Layer::new()),
        Err(e) => {
            return Err(ConfigError::about(&subject, &format!("cannot be read ({e}); expected NAME=value lines")));
        }
    };
    let text = String::from_utf8(bytes)
        .map_err(|_| ConfigError::about(&subject, "is not UTF-8 text; expected NAME=value lines"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut layer = Layer::new();
    for item in dotenvy::from_read_iter(text.as_bytes()) {
        let (name, value) = item.map_err(|e| malformed(&subject, text, &e))?;
        layer.insert(name, value);
    }
    Ok(layer)
}

/// The error of a malformed line. Names the line's number and not its text, which may hold a secret.
fn malformed(subject: &str, text: &str, error: &dotenvy::Error) -> ConfigError {
    let expected = "expected NAME=value, with a value that holds spaces, quotes or $ in single quotes";
    let dotenvy::Error::LineParse(line, _) = error else {
        return ConfigError::about(subject, expected);
    };
    let first = line.lines().next().unwrap_or_default().trim();
    match text.lines().position(|l| l.trim() == first) {
        Some(index) => ConfigError::about(&format!("{subject} line {}", index + 1), expected),
        None => ConfigError::about(subject, expected),
    }
}

/// The flags that were given, by the variable's name.
pub(super) fn flags(matches: &clap::ArgMatches) -> Layer {
    let names = TABLE.iter().flat_map(|v| std::iter::once(v.name).chain(v.file.map(|form| form.name)));
    // `try_get_one`: a subcommand without these flags has none of them, and that is no error
    names
        .filter_map(|name| {
            let value = matches.try_get_one::<String>(name).ok().flatten()?;
            Some((name.to_owned(), value.clone()))
        })
        .collect()
}

/// The process's environment, for [`super::Config::load`]. Unlike `std::env::vars` it does not panic on a variable that is not
/// UTF-8: such bytes become U+FFFD, and a value of ours that holds one is refused.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment, for `Config::load`")]
pub fn process_env() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
}

/// A warning for each `MESH_*` variable that nobody reads, with the nearest known one.
pub(super) fn unknown(layers: &[(Source, Layer)]) -> Vec<String> {
    let known: Vec<&str> = TABLE.iter().flat_map(|v| std::iter::once(v.name).chain(v.file.map(|f| f.name))).collect();
    let mut warnings = Vec::new();
    for (source, layer) in layers {
        for name in layer.keys().filter(|n| n.starts_with("MESH_") && !known.contains(&n.as_str())) {
            let shown = one_line_full(name);
            let hint =
                nearest(name, &known).map(|near| format!("; the nearest known one is {near}")).unwrap_or_default();
            warnings.push(format!("{shown} ({source}) is not known and has no effect{hint}"));
        }
    }
    warnings
}

/// The known name nearest to a mistaken one. The prefix is left out of the comparison: it is the same in most names, and
/// the usual slip is to give it to one that has none (`MESH_LOG_LEVEL`).
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let bare = |name: &str| name.strip_prefix("MESH_").unwrap_or(name).to_ascii_uppercase();
    let wanted = bare(name);
    known.iter().copied().min_by_key(|k| distance(&wanted, &bare(k)))
}

/// Levenshtein's distance: how many characters to insert, delete or replace.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, cb) in row.iter_mut().skip(1).zip(&b) {
            let above = *cell;
            left = (diagonal + usize::from(ca != *cb)).min(above + 1).min(left + 1);
            diagonal = above;
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}
