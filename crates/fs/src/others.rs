//! The other names that a file of the user's has in the directory: to write to one is to write to all.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use chaperone_names::name_as_text;
use rustix::fs::{AtFlags, Dir, OFlags};

use crate::links::Walked;
use crate::object::{Located, ObjectId, ObjectKind};
use crate::tree::{Result, State, Tree, hidden_by_parent, join};

/// Objects of the directory that are looked at. Protects patience; names beyond them keep what they have.
const MAX_LOOKED_AT: usize = 200_000;
/// Directories inside each other that are looked at.
const MAX_DEPTH: usize = 256;
/// Names of one file that change with it; more keep what they have.
const MAX_NAMES: usize = 64;
/// What was found holds for so long, and for so many times as long as it took to find.
const HOLDS: Duration = Duration::from_secs(1);
const TIMES: u32 = 20;

impl Tree {
    /// What else in the directory stands for the same file of the user's, as far as nothing of the agent's stands there.
    pub fn other_names(&self, at: &Located) -> Vec<Located> {
        let Some(object) = at.object().filter(|object| object.nlink > 1) else { return Vec::new() };
        let ObjectId::User(version) = at.identity().object else { return Vec::new() };
        if object.kind != ObjectKind::File {
            return Vec::new();
        }
        let names = self.names_of((version.dev, version.ino));
        let same = |located: &Located| located.identity().object == at.identity().object;
        let others = names.into_iter().filter(|name| name != at.path());
        others.filter_map(|name| self.locate(&name).ok()).filter(same).take(MAX_NAMES).collect()
    }

    fn names_of(&self, file: (u64, u64)) -> Vec<String> {
        let mut others = self.others.lock();
        let is_known = others.0.as_ref().is_some_and(|known| known.until > Instant::now());
        if !is_known {
            let begun = Instant::now();
            // What cannot be read has no names that are known.
            let names = self.files_with_names().unwrap_or_default();
            let until = Instant::now() + HOLDS.max(begun.elapsed() * TIMES);
            others.0 = Some(Walked { until, names });
        }
        others.0.as_ref().and_then(|known| known.names.get(&file)).cloned().unwrap_or_default()
    }

    fn files_with_names(&self) -> Result<HashMap<(u64, u64), Vec<String>>> {
        let mut names: HashMap<(u64, u64), Vec<String>> = HashMap::new();
        let mut folders = vec![(String::new(), 0)];
        let mut looked_at = 0;
        while let Some((folder, depth)) = folders.pop() {
            let Ok(opened) = self.base_open(&folder, OFlags::RDONLY | OFlags::DIRECTORY) else { continue };
            for entry in Dir::read_from(&opened)? {
                let entry = entry?;
                let name = &*name_as_text(entry.file_name().to_bytes());
                if matches!(name, "." | "..") {
                    continue;
                }
                looked_at += 1;
                if looked_at > MAX_LOOKED_AT {
                    return Ok(names);
                }
                let Ok(stat) = rustix::fs::statat(&opened, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
                else {
                    continue;
                };
                match stat.st_mode & 0o170_000 {
                    0o040_000 if depth < MAX_DEPTH => folders.push((join(&folder, name), depth + 1)),
                    0o100_000 if stat.st_nlink > 1 => {
                        names.entry((stat.st_dev, stat.st_ino)).or_default().push(join(&folder, name));
                    }
                    _ => {}
                }
            }
        }
        Ok(names)
    }

    /// Whether the user's own shows at a path.
    pub(crate) fn shows_base(state: &State, path: &str) -> bool {
        !state.entries.contains_key(path) && !hidden_by_parent(state, path)
    }
}
