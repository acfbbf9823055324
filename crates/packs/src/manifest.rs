//! `packs/pack.toml`: the pack's name, its version and what each of its files digests to.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::files::{PackError, files, read};

/// The file that lists the others.
pub const MANIFEST: &str = "packs/pack.toml";

/// What a pack says of itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub name: String,
    /// Semantic; from the first release on, a change of what a file decides is a new one.
    pub version: String,
    /// SHA-256 in hex, by name below `packs/`.
    pub files: BTreeMap<String, String>,
}

/// The manifest that was compiled in.
///
/// # Errors
/// It is no manifest.
pub fn manifest() -> Result<Manifest, PackError> {
    read(MANIFEST)
}

/// SHA-256 in hex over names and digests of what was compiled in, the manifest aside: what really is in this program.
#[must_use]
pub fn digest() -> &'static str {
    static DIGEST: LazyLock<String> = LazyLock::new(|| {
        let lines = contents().into_iter().map(|(name, digest)| format!("{digest}  {name}\n"));
        hex::encode(Sha256::digest(lines.collect::<String>()))
    });
    &DIGEST
}

/// Where the files that were compiled in are not those of the manifest, a line each; none when the pack is whole.
///
/// # Errors
/// It is no manifest.
pub fn differences() -> Result<Vec<String>, PackError> {
    let listed = manifest()?.files;
    let there = contents();
    let mut differences = Vec::new();
    for (name, digest) in &there {
        match listed.get(name) {
            None => differences.push(format!("packs/{name} is not listed in {MANIFEST}")),
            Some(other) if other != digest => {
                differences.push(format!("packs/{name} has another digest than in {MANIFEST}"));
            }
            Some(_) => {}
        }
    }
    for name in listed.keys().filter(|name| !there.contains_key(*name)) {
        differences.push(format!("packs/{name} is listed in {MANIFEST} and was not compiled in"));
    }
    Ok(differences)
}

/// The digest of each file but the manifest, by name below `packs/`.
fn contents() -> BTreeMap<String, String> {
    files()
        .iter()
        .filter(|file| file.name != MANIFEST)
        .map(|file| {
            let name = file.name.strip_prefix("packs/").unwrap_or(file.name);
            (name.to_owned(), hex::encode(Sha256::digest(file.text)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    /// `UPDATE_PACK=1 cargo test -p chaperone-packs` writes the digests anew.
    #[test]
    fn the_manifest_lists_every_file_with_its_digest() {
        if std::env::var_os("UPDATE_PACK").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packs/pack.toml");
            let old = std::fs::read_to_string(path).unwrap();
            let mut new = old.split("[files]\n").next().unwrap().to_owned();
            new.push_str("[files]\n");
            for (name, digest) in contents() {
                writeln!(new, "{name:?} = {digest:?}").unwrap();
            }
            std::fs::write(path, new).unwrap();
            return;
        }
        let differences = differences().unwrap();
        assert!(
            differences.is_empty(),
            "{}\nrun UPDATE_PACK=1 cargo test -p chaperone-packs, and raise the version if decisions change",
            differences.join("\n")
        );
    }

    #[test]
    fn the_digest_is_of_what_was_compiled_in() {
        assert_eq!(digest().len(), 64);
        assert!(!contents().contains_key("pack.toml"));
    }
}
