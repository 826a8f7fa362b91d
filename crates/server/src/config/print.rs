//! What is printed from the table: flags, `.env.example`, the README's table, `mesh-server config`.

use clap::{Arg, ArgAction};

use super::table::TABLE;
use super::variable::{Text, Variable};
use super::{Config, Source};

/// What stands for a secret.
pub(super) const MASK: &str = "***";

/// The heading of the flags that are settings.
pub const SETTINGS: &str = "Configuration";

/// A variable with the value in force, masked already: what `mesh-server config` shows.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) name: &'static str,
    /// `None`: not set, and there is no default.
    pub(super) shown: Option<String>,
    pub(super) source: Source,
    /// `NAME_FILE`, if the value was read from a file.
    pub(super) file: Option<&'static str>,
    /// That file.
    pub(super) path: Option<String>,
}

/// The command-line flags, one for each variable and one for each `NAME_FILE`, under the heading "Configuration". They are
/// global: add them to the command, and every subcommand takes them. `-h` leaves them out, `--help` shows them. Each has
/// the variable's name as its id.
#[must_use]
pub fn clap_args() -> Vec<Arg> {
    let mut args = Vec::with_capacity(TABLE.len() + 5);
    for variable in TABLE {
        args.push(arg(variable.name, variable.flag, "VALUE", help(variable)));
        if let Some(form) = variable.file {
            let text = format!("File that holds the value of {} [env: {}]", variable.name, form.name);
            args.push(arg(form.name, form.flag, "FILE", text));
        }
    }
    args
}

fn arg(id: &'static str, flag: &'static str, value: &'static str, help: String) -> Arg {
    Arg::new(id)
        .long(flag)
        .value_name(value)
        .help(help)
        .action(ArgAction::Set)
        .global(true)
        .hide_short_help(true)
        .help_heading(SETTINGS)
}

fn help(variable: &Variable) -> String {
    let default = variable.default.unwrap_or(variable.unset.en);
    let later = variable.later.map(|l| format!(" Later release: {}.", l.en)).unwrap_or_default();
    format!("{}.{later} [default: {default}] [env: {}]", variable.doc.en, variable.name).replace('`', "")
}

/// The text of `.env.example`: every variable, commented out, with its default.
#[must_use]
pub fn env_example() -> String {
    let mut text = String::from(
        "# Settings of Mesh Server. Copy to .env and take the # from what you change.\n\
         # Later wins: default, .env, environment, command-line flag. An empty value counts as unset.\n\
         # A value that holds spaces, quotes, # or $ stands in 'single quotes'.\n",
    );
    for variable in TABLE {
        text.push_str(&format!("\n# {}.\n", variable.doc.en));
        if let Some(later) = variable.later {
            text.push_str(&format!("# Later release: {}.\n", later.en));
        }
        if variable.default.is_none() {
            text.push_str(&format!("# Unset: {}.\n", variable.unset.en));
        }
        if let Some(form) = variable.file {
            text.push_str(&format!("# Or the path of a file that holds it: {}.\n", form.name));
        }
        text.push_str(&format!("#{}={}\n", variable.name, variable.default.unwrap_or_default()));
    }
    text
}

/// The README's table in English: variable, default, meaning.
#[must_use]
pub fn readme_table() -> String {
    table(["variable", "default", "meaning"], "Or from a file", "Later release", |text| text.en)
}

/// The README's table in French.
#[must_use]
pub fn readme_table_fr() -> String {
    table(["variable", "défaut", "signification"], "Ou depuis un fichier", "Version ultérieure", |text| text.fr)
}

fn table(head: [&str; 3], file: &str, later: &str, language: fn(Text) -> &'static str) -> String {
    // French puts a space before the colon
    let colon = if later.starts_with('V') { " :" } else { ":" };
    let mut text = format!("| {} |\n| --- | --- | --- |\n", head.join(" | "));
    for variable in TABLE {
        let default = match variable.default {
            Some(value) => format!("`{value}`"),
            None => language(variable.unset).to_owned(),
        };
        let mut meaning = format!("{}.", language(variable.doc));
        if let Some(form) = variable.file {
            meaning.push_str(&format!(" {file}{colon} `{}`.", form.name));
        }
        if let Some(what) = variable.later {
            meaning.push_str(&format!(" *{later}{colon} {}.*", language(what)));
        }
        let cells = [default, meaning].map(|cell| cell.replace('|', "\\|"));
        text.push_str(&format!("| `{}` | {} |\n", variable.name, cells.join(" | ")));
    }
    text
}

impl Config {
    /// For `mesh-server config`: each variable as `NAME=value  # source`, secrets as `***`, unset ones commented out.
    #[must_use]
    pub fn dump(&self) -> String {
        let mut text = String::new();
        for (setting, variable) in self.settings.iter().zip(TABLE) {
            let line = match &setting.shown {
                Some(value) => format!("{}={}  # {}\n", setting.name, quoted(value), origin(setting)),
                None => format!("# {}=  # not set: {}\n", setting.name, variable.unset.en.replace('`', "")),
            };
            text.push_str(&line);
        }
        text
    }

    /// The same as JSON: `{"NAME": {"value": "…" or null, "source": "…"}}`.
    #[must_use]
    pub fn dump_json(&self) -> String {
        let entries = self.settings.iter().map(|setting| {
            let value = serde_json::json!({ "value": setting.shown, "source": origin(setting) });
            (setting.name.to_owned(), value)
        });
        let object: serde_json::Map<String, serde_json::Value> = entries.collect();
        // the alternate form of `Value`'s Display is the pretty one
        format!("{:#}\n", serde_json::Value::Object(object))
    }
}

fn origin(setting: &Setting) -> String {
    match setting.file {
        Some(name) => format!("{} ({name})", setting.source),
        None => setting.source.to_string(),
    }
}

/// As `.env` would need it.
fn quoted(value: &str) -> String {
    let plain = !value.contains(|c: char| c.is_whitespace() || "#$'\"\\`".contains(c));
    if plain || value.contains('\'') { value.to_owned() } else { format!("'{value}'") }
}
