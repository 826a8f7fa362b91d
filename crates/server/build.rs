//! Lists the migrations, so that `include_str!` embeds each in the binary; and says which commit it is made from.

#![allow(clippy::disallowed_methods, reason = "Cargo tells a build script what it needs by variables")]

use std::{collections::BTreeMap, error::Error, fmt::Write as _, fs, path::Path, process::Command};

/// What git says; none where there is no git, or no checkout.
fn git(args: &[&str]) -> Option<String> {
    let said = Command::new("git").args(args).output().ok().filter(|said| said.status.success())?;
    let text = String::from_utf8(said.stdout).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// The commit and its date: from the environment, where there is no checkout (an image, a package); else, for a release,
/// from git. A build for development does not say: it would have to be made anew with each commit.
fn build() {
    let given = |name: &str| {
        println!("cargo::rerun-if-env-changed={name}");
        std::env::var(name).ok().filter(|value| !value.is_empty())
    };
    let (mut commit, mut date) = (given("MESH_BUILD_COMMIT"), given("MESH_BUILD_DATE"));
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        commit = commit.or_else(|| git(&["rev-parse", "--short=12", "HEAD"]));
        date = date.or_else(|| git(&["log", "-1", "--format=%cs"]));
        if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={log}");
        }
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=MESH_BUILD_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
    let words = match (&commit, &date) {
        (Some(commit), Some(date)) => format!("{commit}, {date}"),
        (Some(commit), None) => commit.clone(),
        _ => "development build".to_owned(),
    };
    println!("cargo::rustc-env=MESH_BUILD={words}");
}

fn main() -> Result<(), Box<dyn Error>> {
    build();
    let root = Path::new(&std::env::var("CARGO_MANIFEST_DIR")?).join("../../migrations");
    let root = root.canonicalize()?;
    let mut code = String::from("&[\n");
    for (dialect, variant) in [("common", "Common"), ("sqlite", "Sqlite"), ("postgres", "Postgres")] {
        let folder = root.join(dialect);
        println!("cargo::rerun-if-changed={}", folder.display());
        let mut ups = BTreeMap::new();
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry?.path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
            if let Some(stem) = name.strip_suffix(".up.sql") {
                let down = folder.join(format!("{stem}.down.sql"));
                if !down.is_file() {
                    return Err(format!("{stem} has no .down.sql").into());
                }
                ups.insert(stem.to_owned(), (path, down));
            }
        }
        for (stem, (up, down)) in ups {
            let (version, name) = stem.split_once('_').ok_or_else(|| format!("{stem}: expected NNNN_name"))?;
            let version: i64 = version.parse()?;
            writeln!(
                code,
                "Migration {{ version: {version}, name: {name:?}, dialect: Dialect::{variant}, up: include_str!({up:?}), down: include_str!({down:?}) }},"
            )?;
        }
    }
    code.push(']');
    fs::write(Path::new(&std::env::var("OUT_DIR")?).join("migrations.rs"), code)?;
    Ok(())
}
