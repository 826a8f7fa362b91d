//! Lists the migrations, so that `include_str!` embeds each in the binary; finds out which commit is built.

#![allow(clippy::disallowed_methods, reason = "Cargo tells a build script what it needs by variables")]

#[path = "build/glibc.rs"]
mod glibc;
#[path = "build/stamp.rs"]
mod stamp;

use std::{collections::BTreeMap, error::Error, fmt::Write as _, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let top = Path::new(&std::env::var("CARGO_MANIFEST_DIR")?).join("../..").canonicalize()?;
    tell_build(&top);
    pack_relocations();
    let root = top.join("migrations");
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

/// Half a mebibyte of the executable tells the loader, page by page, which pointers to mend at a start. Packed (`DT_RELR`)
/// it is a hundredth of that, and an idle server that much smaller. Only where the executable is built for this very
/// machine, whose glibc understands it (2.36).
fn pack_relocations() {
    println!("cargo::rerun-if-changed=build/glibc.rs");
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let here = variable("TARGET") == variable("HOST") && variable("CARGO_CFG_TARGET_ENV") == "gnu";
    if here && glibc::version().is_some_and(|version| version >= (2, 36)) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// `BUILD_STAMP`: commit and day; `BUILD_COMMIT`: the commit alone. `cargo run` gives them to the server as well, which wonders
/// at a `MESH_…` that it doesn't know. Looked up for what is released alone: whoever develops commits often, and would build the
/// whole crate anew each time.
fn tell_build(top: &Path) {
    let variable = |name: &str| {
        println!("cargo::rerun-if-env-changed={name}");
        std::env::var(name).ok().filter(|value| !value.is_empty())
    };
    let (commit, epoch) = (variable("MESH_BUILD_COMMIT"), variable("SOURCE_DATE_EPOCH"));
    let released = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    if released {
        stamp::watched(top).iter().for_each(|path| println!("cargo::rerun-if-changed={path}"));
    }
    println!("cargo::rerun-if-changed=build/stamp.rs");
    let stamp = stamp::stamp(top, commit.as_deref(), epoch.as_deref(), released);
    let unknown = if released { "commit unknown" } else { "development build" };
    println!("cargo::rustc-env=BUILD_STAMP={}", stamp.as_deref().unwrap_or(unknown));
    // A day alone is no commit.
    let hex = |word: &&str| word.len() >= 7 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let commit = stamp.as_deref().and_then(|stamp| stamp.split(' ').next()).filter(hex);
    println!("cargo::rustc-env=BUILD_COMMIT={}", commit.unwrap_or("unknown"));
}
