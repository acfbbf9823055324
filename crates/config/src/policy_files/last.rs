//! The user's own policies as they last loaded, kept below the state: after a restart they hold where what stands in the
//! configuration does not load. Only what the vault vouches for is taken.

use std::io::Write;
use std::path::PathBuf;

use chaperone_policy::{Engine, Kind, Source};
use chaperone_protocol::Failure;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::dirs::Dirs;

/// What the vault alone computes of some bytes, and always the same.
pub type Seal<'a> = &'a dyn Fn(&[u8]) -> Result<[u8; 32], Failure>;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    files: Vec<KeptFile>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptFile {
    name: String,
    text: String,
    kind: KeptKind,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KeptKind {
    Rego,
    Json,
    Yaml,
}

fn place(dirs: &Dirs) -> PathBuf {
    dirs.state.join("policies.last")
}

/// Keep a set that loaded. What ships is not kept: it is the program's own.
///
/// # Errors
/// `state_unavailable`, or that of the vault.
pub fn keep(dirs: &Dirs, seal: Seal<'_>, sources: &[Source]) -> Result<(), Failure> {
    let shipped: Vec<String> = Engine::builtin_sources().into_iter().map(|source| source.name).collect();
    let own = sources.iter().filter(|source| !shipped.contains(&source.name));
    let files = own.map(|source| KeptFile {
        name: source.name.clone(),
        text: source.text.clone(),
        kind: match source.kind {
            Kind::Rego => KeptKind::Rego,
            Kind::Json => KeptKind::Json,
            Kind::Yaml => KeptKind::Yaml,
        },
    });
    // A reload by command and one by a change of a file may come at once.
    static KEEPING: Mutex<()> = Mutex::new(());
    let _one = KEEPING.lock();
    let place = place(dirs);
    let failed = |e: std::io::Error| Failure::new("state_unavailable", format!("{}: {e}", place.display()));
    let json = serde_json::to_string(&Kept { files: files.collect() }).map_err(|e| failed(e.into()))?;
    let text = format!("{}\n{json}", mark(seal, &json)?);
    if std::fs::read(&place).is_ok_and(|kept| kept == text.as_bytes()) {
        return Ok(());
    }
    let new = place.with_extension("new");
    let mut file = std::fs::File::create(&new).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&new, &place).map_err(failed)
}

/// The set that loaded last, with what ships; nothing where none was kept, or what was is not what the vault vouches for.
pub fn last(dirs: &Dirs, seal: Seal<'_>) -> Option<Vec<Source>> {
    let text = std::fs::read_to_string(place(dirs)).ok()?;
    let (mark, json) = text.split_once('\n')?;
    if self::mark(seal, json).ok()? != mark {
        return None;
    }
    let kept: Kept = serde_json::from_str(json).ok()?;
    let own = kept.files.into_iter().map(|file| Source {
        name: file.name,
        text: file.text,
        kind: match file.kind {
            KeptKind::Rego => Kind::Rego,
            KeptKind::Json => Kind::Json,
            KeptKind::Yaml => Kind::Yaml,
        },
    });
    Some(Engine::builtin_sources().into_iter().chain(own).collect())
}

fn mark(seal: Seal<'_>, json: &str) -> Result<String, Failure> {
    Ok(seal(json.as_bytes())?.iter().map(|byte| format!("{byte:02x}")).collect())
}
