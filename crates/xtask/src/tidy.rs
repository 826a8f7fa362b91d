//! The import rules of `crates/server/src`, where SQL may stand, what the protocol may depend on, that migrations expand
//! before they contract, and whether the tests that `docs/security.md` names are there.
//!
//! The server is one crate made of *rooms*: a room is a first-level module. [`ROOMS`] says which room may use which.
//! Test code is not looked at.

mod claims;
mod migrations;
mod reader;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::Visit;

use reader::Reader;

/// Each room and the rooms that it may use, besides itself and [`BASE`].
const ROOMS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("store", &["domain"]),
    ("bus", &["domain"]),
    ("push", &["domain"]),
    ("service", &["store", "bus", "domain", "push", "app"]),
    ("http", &["service", "domain", "app"]),
    ("realtime", &["service", "domain", "app"]),
    ("worker", &["service", "domain", "app"]),
];

/// What every room but `domain` may use. They may use one another and `domain`.
const BASE: &[&str] =
    &["error", "clock", "ids", "metrics", "config", "tasks", "keys", "outbound", "queue", "tls", "trace"];

/// What puts the rooms together: may use everything.
const TOP: &[&str] = &["app", "main", "lifecycle", "lib", "cli"];

/// The crates that speak to a database: `store` only.
const DRIVERS: &[&str] = &["rusqlite", "postgres", "tokio_postgres", "sqlx"];

/// The crates that speak HTTP and WebSocket, and the rooms that know neither.
const WEB: &[&str] = &["axum", "hyper", "tower_http", "tokio_tungstenite", "tungstenite"];
const NO_WEB: &[&str] = &["domain", "store", "bus", "service"];

/// The rooms that reach the database through `service`, never through `app.store`.
const NO_STORE_FIELD: &[&str] = &["http", "realtime", "worker"];

/// The crates that make code asynchronous: not in `domain`.
const ASYNC: &[&str] = &["tokio", "tokio_util", "futures", "futures_util"];

/// How an SQL text begins.
const SQL: &[&str] = &["SELECT ", "INSERT INTO ", "UPDATE ", "DELETE FROM ", "CREATE TABLE ", "PRAGMA "];

/// The protocol crate is a leaf without I/O: no dependency whose name begins so.
const NOT_IN_PROTOCOL: &[&str] =
    &["tokio", "axum", "rusqlite", "postgres", "sqlx", "hyper", "reqwest", "mesh-server", "mesh-client"];

const LONG_FILE: usize = 500;

/// Something that must not stay as it is.
#[derive(Debug)]
struct Finding {
    file: String,
    line: usize,
    message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}

/// Checks the repository at `root`; long files are only listed.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let mut findings = vec![];
    let sources = read_sources(root, Path::new("crates"))?;

    let server: Vec<_> = sources
        .iter()
        .filter_map(|(path, text)| Some((path.strip_prefix("crates/server/src").ok()?, text)))
        .map(|(path, text)| (path.to_path_buf(), text.clone()))
        .collect();
    for mut finding in check_server(&server) {
        finding.file = format!("crates/server/src/{}", finding.file);
        findings.push(finding);
    }

    for manifest in manifests(root)? {
        let text = fs::read_to_string(root.join(&manifest)).map_err(|e| format!("{manifest}: {e}"))?;
        findings.extend(check_manifest(&manifest, &text));
    }

    findings.extend(migrations::check(root)?);
    let document = fs::read_to_string(root.join("docs/security.md")).map_err(|e| format!("docs/security.md: {e}"))?;
    findings.extend(claims::check(&document, &sources));

    for (path, text) in &sources {
        let lines = text.lines().count();
        if lines > LONG_FILE {
            eprintln!("warning: {}: {lines} lines; above {LONG_FILE} a file wants to be two", path.display());
        }
    }

    if findings.is_empty() {
        return Ok(());
    }
    let mut problem = String::new();
    for finding in &findings {
        problem.push_str(&format!("{finding}\n"));
    }
    problem.push_str(&format!("tidy: {} to mend", findings.len()));
    Err(problem)
}

/// Checks the sources of the server; paths are relative to its `src`.
fn check_server(sources: &[(PathBuf, String)]) -> Vec<Finding> {
    let mut findings = vec![];
    let mut parsed = vec![];
    let mut test_only = vec![];
    for (path, text) in sources {
        match syn::parse_file(text) {
            Ok(file) => {
                test_only.extend(test_modules(path, &file));
                parsed.push((path, file));
            }
            Err(error) => findings.push(Finding {
                file: path.display().to_string(),
                line: error.span().start().line,
                message: error.to_string(),
            }),
        }
    }
    for (path, file) in parsed {
        let module = path.with_extension("");
        if test_only.iter().any(|test| module.starts_with(test)) {
            continue;
        }
        let mods = module_path(path);
        let room = mods.first().cloned().unwrap_or_else(|| module.display().to_string());
        let mut reader =
            Reader { file: path.display().to_string(), allowed: allowed(&room), room, mods, findings: vec![] };
        if reader.allowed == Allowed::Unknown {
            let message = format!("`{}` is no known room; give it a place in crates/xtask/src/tidy.rs", reader.room);
            reader.findings.push(Finding { file: reader.file.clone(), line: 1, message });
        } else {
            reader.visit_file(&file);
        }
        findings.append(&mut reader.findings);
    }
    findings
}

#[derive(Debug, PartialEq)]
enum Allowed {
    All,
    Only(Vec<&'static str>),
    Unknown,
}

fn allowed(room: &str) -> Allowed {
    if TOP.contains(&room) {
        return Allowed::All;
    }
    if BASE.contains(&room) {
        return Allowed::Only([&["domain"], BASE].concat());
    }
    match ROOMS.iter().find(|(name, _)| *name == room) {
        Some((name, rooms)) if *name == "domain" => Allowed::Only(rooms.to_vec()),
        Some((_, rooms)) => Allowed::Only([rooms, BASE].concat()),
        None => Allowed::Unknown,
    }
}

/// `store/rooms.rs` is the module `["store", "rooms"]`, `store/mod.rs` is `["store"]`, `lib.rs` is `[]`.
fn module_path(path: &Path) -> Vec<String> {
    let mut mods: Vec<String> =
        path.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let is_root = mods.len() == 1 && mods.iter().all(|m| m == "lib" || m == "main");
    if is_root || mods.last().is_some_and(|last| last == "mod") {
        mods.pop();
    }
    mods
}

/// The files of `#[cfg(test)] mod name;`, without extension.
fn test_modules(path: &Path, file: &syn::File) -> Vec<PathBuf> {
    let folder: PathBuf = module_path(path).iter().collect();
    file.items
        .iter()
        .filter_map(|item| match item {
            syn::Item::Mod(m) if m.content.is_none() && is_test(&m.attrs) => Some(folder.join(m.ident.to_string())),
            _ => None,
        })
        .collect()
}

/// Whether these attributes keep the thing out of anything but tests.
fn is_test(attrs: &[syn::Attribute]) -> bool {
    attrs.iter().any(|attr| match &attr.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => {
            syn::parse2::<syn::Meta>(list.tokens.clone()).is_ok_and(|cfg| needs_test(&cfg))
        }
        syn::Meta::Path(path) => path.is_ident("test"),
        _ => false,
    })
}

fn needs_test(cfg: &syn::Meta) -> bool {
    type List = syn::punctuated::Punctuated<syn::Meta, syn::Token![,]>;
    match cfg {
        syn::Meta::Path(path) => path.is_ident("test"),
        syn::Meta::List(list) => {
            let parts = list.parse_args_with(List::parse_terminated);
            let is = |name| list.path.is_ident(name);
            parts.is_ok_and(|parts| {
                (is("all") && parts.iter().any(needs_test)) || (is("any") && parts.iter().all(needs_test))
            })
        }
        syn::Meta::NameValue(_) => false,
    }
}

/// A crate takes the workspace's lints; the protocol crate stays a leaf.
fn check_manifest(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = vec![];
    let mut find = |message: String| {
        findings.push(Finding { file: path.to_owned(), line: 1, message });
    };
    let manifest: toml::Table = match text.parse() {
        Ok(manifest) => manifest,
        Err(error) => {
            find(error.to_string());
            return findings;
        }
    };
    let lints = manifest.get("lints").and_then(|l| l.get("workspace"));
    if lints.and_then(toml::Value::as_bool) != Some(true) {
        find("takes no lints from the workspace; add `[lints]` with `workspace = true`".into());
    }
    if path == "crates/protocol/Cargo.toml" {
        for name in dependencies(&manifest) {
            if NOT_IN_PROTOCOL.iter().any(|start| name.starts_with(start)) {
                find(format!("`{name}`: the protocol crate is a leaf without I/O"));
            }
        }
    }
    findings
}

/// The packages that a manifest names, per target too.
fn dependencies(manifest: &toml::Table) -> Vec<String> {
    let mut names = vec![];
    for (key, value) in manifest {
        let Some(table) = value.as_table() else {
            continue;
        };
        if key == "target" {
            for target in table.values().filter_map(toml::Value::as_table) {
                names.extend(dependencies(target));
            }
        } else if key.ends_with("dependencies") {
            for (name, value) in table {
                let package = value.get("package").and_then(toml::Value::as_str);
                names.push(package.unwrap_or(name).to_owned());
            }
        }
    }
    names
}

fn manifests(root: &Path) -> Result<Vec<String>, String> {
    let mut found = vec![];
    for entry in fs::read_dir(root.join("crates")).map_err(|e| format!("crates: {e}"))? {
        let name = entry.map_err(|e| format!("crates: {e}"))?.file_name();
        let manifest = format!("crates/{}/Cargo.toml", name.to_string_lossy());
        if root.join(&manifest).is_file() {
            found.push(manifest);
        }
    }
    found.sort();
    Ok(found)
}

/// Every `.rs` file below `folder`, in order, with paths relative to `root`.
fn read_sources(root: &Path, folder: &Path) -> Result<Vec<(PathBuf, String)>, String> {
    let problem = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let mut sources = vec![];
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder)).map_err(|e| problem(&folder, e))? {
            let entry = entry.map_err(|e| problem(&folder, e))?;
            let path = folder.join(entry.file_name());
            let kind = entry.file_type().map_err(|e| problem(&path, e))?;
            let skipped = ["target", "node_modules"].map(std::ffi::OsStr::new);
            if kind.is_dir() && !skipped.contains(&entry.file_name().as_os_str()) {
                folders.push(path);
            } else if kind.is_file() && path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(root.join(&path)).map_err(|e| problem(&path, e))?;
                sources.push((path, text));
            }
        }
    }
    sources.sort();
    Ok(sources)
}

#[cfg(test)]
mod tests;
