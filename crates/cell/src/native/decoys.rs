//! Decoys: the places where credentials usually are, empty and watched.

use std::path::PathBuf;

use serde::Deserialize;

use crate::plan::{Decoy, HOME};

const PACK: &str = "packs/cell/decoys.toml";

/// What a decoy holds: nothing of value, and a line that says so to whoever reads it.
pub(crate) const CONTENT: &[u8] =
    b"# No credential lives here: this is a decoy inside a sandbox. Touching it is reported.\n";

#[derive(Debug, Deserialize)]
struct Pack {
    decoy: Vec<Decoy>,
}

/// The decoys that ship, with `~` as the agent's home.
///
/// # Errors
/// When the pack is not right.
pub fn default_decoys() -> Result<Vec<Decoy>, String> {
    let pack: Pack = chaperone_packs::read(PACK).map_err(|e| e.to_string())?;
    Ok(pack
        .decoy
        .iter()
        .map(|d| match d.path.strip_prefix("~") {
            Ok(rest) => Decoy { path: PathBuf::from(HOME).join(rest), ..d.clone() },
            Err(_) => d.clone(),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_decoy_is_absolute_and_names_its_technique() {
        for decoy in default_decoys().unwrap() {
            assert!(decoy.path.is_absolute(), "{}", decoy.path.display());
            assert!(decoy.technique.starts_with('T'));
        }
    }
}
