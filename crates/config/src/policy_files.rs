//! The policy files in force: those that ship, and the user's own.

use std::path::PathBuf;

use chaperone_policy::{Engine, Kind, Source};
use chaperone_protocol::Failure;

use crate::dirs::Dirs;

/// Largest policy file read, in bytes. Protects the broker from a mistaken path.
const MAX_POLICY: u64 = 16 * 1024 * 1024;
/// The policies that ship, and the user's own.
///
/// # Errors
/// `policy_unreadable`.
pub fn sources(dirs: &Dirs) -> Result<Vec<Source>, Failure> {
    let mut sources = Engine::builtin_sources();
    let folder = dirs.config.join("policies");
    let unreadable = |e: std::io::Error, p: &std::path::Path| {
        Failure::new("policy_unreadable", format!("{}: {e}", p.display()))
    };
    let mut files: Vec<PathBuf> = match std::fs::read_dir(&folder) {
        Ok(entries) => entries.flatten().map(|e| e.path()).collect(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(unreadable(e, &folder)),
    };
    files.sort();
    for path in files {
        let kind = match path.extension().and_then(|e| e.to_str()) {
            Some("rego") => Kind::Rego,
            Some("json") => Kind::Json,
            Some("yaml" | "yml") => Kind::Yaml,
            _ => continue,
        };
        let size = std::fs::metadata(&path).map_err(|e| unreadable(e, &path))?.len();
        if size > MAX_POLICY {
            return Err(Failure::new(
                "policy_unreadable",
                format!("{}: larger than {MAX_POLICY} bytes", path.display()),
            ));
        }
        let text = std::fs::read_to_string(&path).map_err(|e| unreadable(e, &path))?;
        sources.push(Source { name: path.display().to_string(), text, kind });
    }
    Ok(sources)
}
