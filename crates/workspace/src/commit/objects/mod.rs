//! The store of objects of a repository is named by its content, and held to that: what comes has to be what its name says, and
//! nothing that is there becomes something else. What names objects has to name some that are there.
//!
//! What git only computed from the objects, to be faster, and then believes is never carried (`is_derived`): git computes it
//! anew.

mod hash;
mod loose;
mod names;
mod pack;
mod read;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fs::File;

use chaperone_staging::{Change, Kind, Op};
use rustix::fs::{Dir, OFlags};

use self::hash::Hash;
use self::names::What;
use self::read::Budget;
use super::own;
use crate::mount::LiveMount;
use crate::overlay;

/// Largest pack and index that are looked at.
pub(super) const LARGEST: u64 = 512 << 20;
const INDEX_BYTES: usize = 64 << 20;
/// Bytes of a file of names that are read.
const NAMES_BYTES: usize = 16 << 20;

/// Whether a change is, by its place, of what git computes from the objects and believes.
pub(super) fn is_derived(change: &Change) -> bool {
    change.kind == Kind::File
        && names::stored(&change.path).is_some_and(|stored| stored.what == What::Derived)
}

/// Opens what a change brings.
pub(super) type Staged<'a> = &'a dyn Fn(&Change) -> Option<File>;

/// The stores of a mount, as they are and as a commit makes them.
pub(super) struct Objects<'a> {
    mount: &'a LiveMount,
    brings: HashMap<&'a str, &'a Change>,
    staged: Staged<'a>,
    gone: HashSet<&'a str>,
    /// Packs and indexes that are each other's, with the digest of what was looked at.
    sound: HashMap<&'a str, String>,
    /// Indexes of those, by their stores.
    indexes: HashMap<String, Vec<File>>,
    budget: RefCell<Budget>,
}

impl std::fmt::Debug for Objects<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Objects").field("sound", &self.sound).finish_non_exhaustive()
    }
}

impl<'a> Objects<'a> {
    /// As these changes make them.
    pub fn by(mount: &'a LiveMount, changes: &'a [Change], staged: Staged<'a>) -> Self {
        let brings: HashMap<&str, &Change> = changes
            .iter()
            .filter(|c| c.op != Op::Delete && c.kind == Kind::File)
            .map(|c| (c.path.as_str(), c))
            .collect();
        let taken = changes.iter().filter_map(Change::leaves);
        let gone = taken.filter(|path| !brings.contains_key(path)).collect();
        let mut this = Self {
            mount,
            brings,
            staged,
            gone,
            sound: HashMap::new(),
            indexes: HashMap::new(),
            budget: RefCell::new(Budget::new()),
        };
        let mut packs: HashMap<&str, (Option<&Change>, Option<&Change>)> = HashMap::new();
        for change in changes.iter().filter(|c| brings_content(c)) {
            match names::stored(&change.path).map(|stored| stored.what) {
                Some(What::Pack(stem, "pack")) => packs.entry(stem).or_default().0 = Some(change),
                Some(What::Pack(stem, _)) => packs.entry(stem).or_default().1 = Some(change),
                _ => {}
            }
        }
        for (pack, index) in packs.into_values().filter_map(|(pack, index)| pack.zip(index)) {
            this.look_at(pack, index);
        }
        this
    }

    fn look_at(&mut self, pack: &'a Change, index: &'a Change) -> Option<()> {
        let (held, listed) = ((self.staged)(pack)?, (self.staged)(index)?);
        let name = pack.path.rsplit_once('/').map_or(pack.path.as_str(), |(_, name)| name);
        let digits = name.strip_prefix("pack-")?.strip_suffix(".pack")?.len();
        let computed = pack::index_of(&held, Hash::of_name(digits)?, &mut self.budget.borrow_mut())?;
        if own::read(&listed, INDEX_BYTES)? != computed {
            return None;
        }
        let digest = |file: &File| chaperone_staging::sha256(file).ok();
        self.sound.extend([(pack.path.as_str(), digest(&held)?), (index.path.as_str(), digest(&listed)?)]);
        let store = names::stored(&pack.path)?.store.to_owned();
        self.indexes.entry(store).or_default().push(listed);
        Some(())
    }

    /// Whether git would take the content for something that it is not; `None` where no store is.
    pub fn is_unsound(&self, change: &Change, content: &File) -> Option<bool> {
        if let Some(digest) = names::large(&change.path) {
            return Some(chaperone_staging::sha256(content).ok().as_deref() != Some(digest));
        }
        let stored = names::stored(&change.path)?;
        if !self.is_store(stored.store) {
            return None;
        }
        if change.op == Op::Rename {
            return Some(true);
        }
        if let Some(known) = own::open(self.mount, &change.path) {
            let digest = |file: &File| chaperone_staging::sha256(file).ok();
            return Some(digest(&known).is_none_or(|known| digest(content) != Some(known)));
        }
        Some(match stored.what {
            What::Loose(first, rest) => {
                let name = format!("{first}{rest}");
                loose::is_object(&name, content, &mut self.budget.borrow_mut()).is_none()
            }
            What::Pack(..) => {
                let digest = chaperone_staging::sha256(content).ok();
                digest.is_none() || self.sound.get(change.path.as_str()) != digest.as_ref()
            }
            What::Derived => true,
        })
    }

    /// Whether a pack comes that has what its index says.
    pub fn is_sound_pack(&self, path: &str) -> bool {
        path.ends_with(".pack") && self.sound.contains_key(path)
    }

    /// Whether a name of a repository is to stand for what is not there. What the file named before is not looked at again.
    pub fn names_nothing(&self, path: &str, content: &File) -> bool {
        let Some(store) = names::store_of_names(path).filter(|store| self.is_store(store)) else {
            return false;
        };
        if path.ends_with("/shallow") {
            return false;
        }
        let Some(text) = text(content) else { return true };
        if !path.ends_with("/packed-refs") {
            let text = text.trim_end();
            let link = text.strip_prefix("ref:").map(str::trim_start);
            return !link.map_or_else(
                || self.has(&store, text),
                |link| link.starts_with("refs/") && !link.split('/').any(|name| name == ".."),
            );
        }
        let then = self.text_before(path).unwrap_or_default();
        let known: HashSet<&str> = then.lines().collect();
        let new = text.lines().filter(|line| !line.starts_with('#') && !known.contains(line));
        new.map(|line| line.trim_start_matches('^').split(' ').next().unwrap_or_default())
            .any(|id| !self.has(&store, id))
    }

    /// Whether history that the user has whole, or a commit of theirs, is to be where it ends.
    pub fn cuts(&self, path: &str, content: &File) -> bool {
        let Some(store) = names::store_of_names(path) else { return false };
        let Some(now) = text(content) else { return true };
        let then = self.text_before(path).unwrap_or_default();
        let known: HashSet<&str> = then.lines().collect();
        // What comes with a new repository is its own, and of one that ends early already git fetches more.
        let git = store.strip_suffix("objects").unwrap_or_default();
        let is_whole = known.is_empty() && own::open(self.mount, &format!("{git}HEAD")).is_some();
        now.lines()
            .filter(|line| !known.contains(line))
            .any(|id| names::id(id.trim()).is_none() || is_whole || self.had(&store, id.trim()))
    }

    /// The text of a file of names as it will be; `None` when there will be none.
    pub fn text_after(&self, path: &str) -> Option<String> {
        if self.gone.contains(path) {
            return None;
        }
        match self.brings.get(path).filter(|change| change.kind == Kind::File && change.blob.is_some()) {
            Some(change) => (self.staged)(change).and_then(|file| text(&file)),
            None => self.text_before(path),
        }
    }

    /// The text of a file of names as the user has it.
    pub fn text_before(&self, path: &str) -> Option<String> {
        own::open(self.mount, path).and_then(|file| text(&file))
    }

    /// Whether all objects of a file of a store that goes will be there.
    pub fn keeps(&self, path: &str) -> bool {
        let Some(stored) = names::stored(path).filter(|stored| self.is_store(stored.store)) else {
            return false;
        };
        match stored.what {
            What::Loose(first, rest) => self.has(stored.store, &format!("{first}{rest}")),
            What::Pack(stem, _) => {
                let index = own::open(self.mount, &format!("{stem}.idx"));
                let listed = index.and_then(|index| own::read(&index, INDEX_BYTES));
                listed.is_some_and(|listed| {
                    names::listed(&listed, stem)
                        .is_some_and(|mut ids| ids.all(|id| self.has(stored.store, &hex::encode(id))))
                })
            }
            What::Derived => true,
        }
    }

    /// Whether an object that is there will not be.
    pub fn loses(&self, store: &str, name: &str) -> bool {
        self.had(store, name) && !self.has(store, name)
    }

    fn is_store(&self, store: &str) -> bool {
        let git = store.strip_suffix("objects").unwrap_or_default();
        let head = format!("{git}HEAD");
        format!("/{git}").contains("/.git/")
            || self.brings.contains_key(head.as_str())
            || own::open(self.mount, &head).is_some()
    }

    fn has(&self, store: &str, name: &str) -> bool {
        let Some(id) = names::id(name) else { return false };
        let loose = loose_path(store, name);
        let is_sound = |change: &&Change| {
            (self.staged)(change).is_some_and(|file| self.is_unsound(change, &file) == Some(false))
        };
        self.brings.get(loose.as_str()).is_some_and(is_sound)
            || self.indexes.get(store).is_some_and(|all| all.iter().any(|index| names::has(index, &id)))
            || !self.gone.contains(loose.as_str()) && own::open(self.mount, &loose).is_some()
            || self.has_packed(store, &id, &self.gone)
            // Objects that are elsewhere are not looked for.
            || own::open(self.mount, &format!("{store}/info/alternates")).is_some()
    }

    fn had(&self, store: &str, name: &str) -> bool {
        let Some(id) = names::id(name) else { return false };
        own::open(self.mount, &loose_path(store, name)).is_some()
            || self.has_packed(store, &id, &HashSet::new())
    }

    fn has_packed(&self, store: &str, id: &[u8], gone: &HashSet<&str>) -> bool {
        let folder = format!("{store}/pack");
        let fd = overlay::open(&self.mount.root, &folder, OFlags::RDONLY | OFlags::DIRECTORY);
        let Ok(entries) = fd.and_then(Dir::read_from) else { return false };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().to_str().ok().map(str::to_owned));
        let mut paths = names.filter(|name| name.ends_with(".idx")).map(|name| format!("{folder}/{name}"));
        paths.any(|path| {
            !gone.contains(path.as_str())
                && own::open(self.mount, &path).is_some_and(|index| names::has(&index, id))
        })
    }
}

fn loose_path(store: &str, name: &str) -> String {
    let (first, rest) = name.split_at_checked(2).unwrap_or((name, ""));
    format!("{store}/{first}/{rest}")
}

fn brings_content(change: &Change) -> bool {
    change.kind == Kind::File && change.op != Op::Delete && change.blob.is_some()
}

fn text(file: &File) -> Option<String> {
    own::read(file, NAMES_BYTES).and_then(|bytes| String::from_utf8(bytes).ok())
}

#[cfg(test)]
pub(super) mod tests;
