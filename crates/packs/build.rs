//! Lists every file of `packs/` for `include_str!`: a file that is there ships, without a line of code that names it. A
//! table stands beside its text as JSON, which a program that starts many times a minute reads in a fraction of the time.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let packs = Path::new(&env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?).join("../../packs");
    println!("cargo:rerun-if-changed={}", packs.display());
    let mut files = Vec::new();
    collect(&packs, "packs", &mut files)?;
    files.sort();
    let mut list = String::from("&[\n");
    for (name, path) in files {
        let path = path.canonicalize()?;
        writeln!(
            list,
            "    File {{ name: {name:?}, text: include_str!({path:?}), json: {:?} }},",
            json(&path)?
        )
        .map_err(io::Error::other)?;
    }
    list.push(']');
    fs::write(Path::new(&env::var("OUT_DIR").map_err(io::Error::other)?).join("files.rs"), list)
}

/// The table of a file, where it is one.
fn json(path: &Path) -> io::Result<Option<String>> {
    if path.extension().is_none_or(|ending| ending != "toml") {
        return Ok(None);
    }
    // What is wrong in it is told, with its line, by whoever reads it.
    let Ok(table) = toml::from_str::<toml::Table>(&fs::read_to_string(path)?) else { return Ok(None) };
    serde_json::to_string(&table).map(Some).map_err(io::Error::other)
}

fn collect(directory: &Path, name: &str, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let below = format!("{name}/{}", entry.file_name().to_string_lossy());
        match (entry.file_type()?.is_dir(), entry.path().extension().and_then(|e| e.to_str())) {
            (true, _) => collect(&entry.path(), &below, files)?,
            (false, Some("toml" | "rego" | "txt")) => files.push((below, entry.path())),
            // What an editor left does not ship.
            (false, _) => {}
        }
    }
    Ok(())
}
