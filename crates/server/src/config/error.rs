//! The one error of this module: a line for the operator, fit for standard error as it stands.

use std::fmt;

/// How many characters of a refused value are repeated; the rest would only bury the message.
const SHOWN_CHARS: usize = 120;

/// A setting that cannot be used. Its `Display` is exactly one line: the variable, the value (a secret's never) and
/// what is accepted. The binary prints it and exits with status 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    variable: String,
    line: String,
}

impl ConfigError {
    /// `variable=shown: message`. `shown` must be masked by the caller already.
    pub(crate) fn value(variable: &str, shown: &str, message: &str) -> Self {
        let line = format!("{variable}={}: {}", one_line(shown), one_line_full(message));
        Self { variable: variable.to_owned(), line }
    }

    /// `subject: message`, for what is not about one value: two settings at once, a file.
    pub(crate) fn about(subject: &str, message: &str) -> Self {
        let line = format!("{}: {}", one_line_full(subject), one_line_full(message));
        Self { variable: subject.to_owned(), line }
    }

    /// The variable (or the file) that the line names.
    #[must_use]
    pub fn variable(&self) -> &str {
        &self.variable
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl std::error::Error for ConfigError {}

/// The text on one line (control characters escaped), shortened if it is long.
fn one_line(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN_CHARS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    one_line_full(&short)
}

/// The text on one line: control characters are escaped, so that a value can't forge a second line or a colour.
pub(super) fn one_line_full(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut line, c| {
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
        line
    })
}
