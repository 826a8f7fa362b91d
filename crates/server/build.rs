//! Lists the migrations, so that `include_str!` embeds each in the binary.

#![allow(clippy::disallowed_methods, reason = "Cargo tells a build script what it needs by variables")]

use std::{collections::BTreeMap, error::Error, fmt::Write as _, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
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
