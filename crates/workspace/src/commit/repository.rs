//! Repositories of git in the user's directory, and those that a commit would take away. What git removes itself when it tidies up is
//! no loss: it keeps what its names need.
//!
//! Source: gitrepository-layout(5).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use chaperone_staging::{Change, Kind, Op};
use rustix::fs::{FileType, OFlags};

use super::objects::Objects;
use super::own;
use crate::mount::LiveMount;
use crate::overlay;

/// What makes a directory a repository; without one of them git finds none there, or nothing in it.
const MAKES_ONE: &[&str] = &["HEAD", "config", "objects", "refs"];
/// The list of tables of names, where a repository has those.
const TABLES: &str = "tables.list";
/// Packed names whose objects are looked for.
const MOST_TIPS: usize = 1_000;
/// Bytes of a file of names that are read.
const NAMES_BYTES: usize = 16 << 20;

/// Repositories whose directory has another name than `.git`: bare ones, and those that are kept beside their work tree.
#[derive(Debug, Default, Clone)]
pub(super) struct Others(BTreeSet<String>);

impl Others {
    /// Those that these changes are in, as the user has them, or as the changes make them.
    pub fn around(mount: &LiveMount, changes: &[Change]) -> Self {
        let mut places = Places { mount, known: HashMap::new() };
        let brings: HashMap<&str, Kind> =
            changes.iter().filter(|c| c.op != Op::Delete).map(|c| (c.path.as_str(), c.kind)).collect();
        for change in changes.iter().filter(|c| c.kind == Kind::File && c.op == Op::Create) {
            let Some((at, "HEAD")) = change.path.rsplit_once('/') else { continue };
            let has = |name: &&&str| brings.get(below(at, name).as_str()) == Some(&Kind::Dir);
            if ["objects", "refs"].iter().filter(has).count() == 2 {
                places.known.insert(at.to_owned(), true);
            }
        }
        let paths = changes.iter().flat_map(|c| [Some(&c.path), c.from.as_ref()]).flatten();
        let around = paths.filter_map(|path| Some(places.around(path)?.to_owned()));
        Self(around.filter(|at| at.rsplit('/').next() != Some(".git")).collect())
    }

    /// A path as it would be in a directory called `.git`, by which the parts of a repository are known.
    pub fn as_git<'p>(&self, path: &'p str) -> Cow<'p, str> {
        match up_from(path).find(|at| self.0.contains(*at)) {
            Some(at) if at == path => below(at, ".git").into(),
            Some(at) => {
                below(&below(at, ".git"), path.get(at.len()..).unwrap_or_default().trim_start_matches('/'))
                    .into()
            }
            None => path.into(),
        }
    }

    /// Where that path is.
    pub fn place<'p>(&self, path: &'p str) -> Cow<'p, str> {
        let named = |at: &&String| {
            let git = below(at, ".git");
            path.strip_prefix(&*git).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        match self.0.iter().rev().find(named) {
            Some(at) => {
                let inside = path.get(below(at, ".git").len()..).unwrap_or_default().trim_start_matches('/');
                if inside.is_empty() { at.clone().into() } else { below(at, inside).into() }
            }
            None => path.into(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Paths, each with the kind of what goes from there or comes there.
type Paths<'a> = HashMap<&'a str, Kind>;

/// Directories of repositories that would be lost, relative to the mount.
#[derive(Debug, Default)]
pub(super) struct Lost(BTreeSet<String>);

impl Lost {
    /// Of what these changes do together.
    pub fn by(mount: &LiveMount, changes: &[Change], objects: &Objects<'_>) -> Self {
        let mut places = Places { mount, known: HashMap::new() };
        let mut taken: BTreeMap<String, Paths<'_>> = BTreeMap::new();
        for change in changes {
            let Some(path) = change.leaves() else { continue };
            if let Some(repository) = places.around(path) {
                taken.entry(repository.to_owned()).or_default().insert(path, change.kind);
            }
        }
        for path in changes.iter().filter_map(renames_all) {
            if let Some(repository) = places.around(path) {
                taken.entry(repository.to_owned()).or_default();
            }
        }
        if taken.is_empty() {
            return Self::default();
        }
        let brought: Paths<'_> =
            changes.iter().filter(|c| c.op != Op::Delete).map(|c| (c.path.as_str(), c.kind)).collect();
        let is_lost =
            |at: &str, taken: &Paths<'_>| After { mount, at, taken, brought: &brought, objects }.is_lost();
        Self(taken.into_iter().filter(|(at, taken)| is_lost(at, taken)).map(|(at, _)| at).collect())
    }

    /// Whether the change takes something of one of them away.
    pub fn has(&self, change: &Change) -> bool {
        change
            .leaves()
            .or_else(|| renames_all(change))
            .is_some_and(|path| up_from(path).any(|at| self.0.contains(at)))
    }
}

/// Whether a path is a repository, or in one, by its name or by what is there.
pub(super) fn holds(mount: &LiveMount, path: &str) -> bool {
    path.to_lowercase().split('/').any(|name| name == ".git")
        || Places { mount, known: HashMap::new() }.around(path).is_some()
}

/// A file that says which names there are.
fn renames_all(change: &Change) -> Option<&str> {
    let is_one = matches!(change.path.rsplit('/').next(), Some("HEAD" | "packed-refs"));
    (is_one && change.op != Op::Delete && change.kind == Kind::File).then_some(change.path.as_str())
}

/// A path and the directories above it, up to the mount itself, which is the empty path.
pub(super) fn up_from(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |at| {
        (!at.is_empty()).then(|| at.rsplit_once('/').map_or("", |(up, _)| up))
    })
}

fn below(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

struct Places<'a> {
    mount: &'a LiveMount,
    known: HashMap<String, bool>,
}

impl Places<'_> {
    /// The innermost repository that the path is, or is in.
    fn around<'p>(&mut self, path: &'p str) -> Option<&'p str> {
        up_from(path).find(|at| {
            if let Some(known) = self.known.get(*at) {
                return *known;
            }
            let is_one = is_there(self.mount, &below(at, "HEAD"), FileType::RegularFile)
                && ["objects", "refs"]
                    .iter()
                    .all(|d| is_there(self.mount, &below(at, d), FileType::Directory));
            self.known.insert((*at).to_owned(), is_one);
            is_one
        })
    }
}

fn is_there(mount: &LiveMount, path: &str, kind: FileType) -> bool {
    let stat = overlay::open(&mount.root, path, OFlags::PATH | OFlags::NOFOLLOW).and_then(rustix::fs::fstat);
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == kind)
}

/// One repository as it will be.
struct After<'a> {
    mount: &'a LiveMount,
    at: &'a str,
    taken: &'a Paths<'a>,
    brought: &'a Paths<'a>,
    objects: &'a Objects<'a>,
}

impl After<'_> {
    fn is_lost(&self) -> bool {
        self.is_gone(self.at)
            || MAKES_ONE.iter().any(|name| self.is_gone(&below(self.at, name)))
            || self.loses_its_tables()
            || self.loses_objects()
            || self.loses_its_branch()
            || self.loses_what_it_names()
    }

    /// What comes in its place as another kind of object is not it.
    fn is_gone(&self, path: &str) -> bool {
        self.taken.get(path).is_some_and(|was| self.brought.get(path) != Some(was))
    }

    /// Its names are in tables, and one goes that their list has.
    fn loses_its_tables(&self) -> bool {
        let tables = below(self.at, "reftable");
        let list = below(&tables, TABLES);
        let listed = self.objects.text_after(&list).unwrap_or_default();
        self.is_gone(&tables)
            || self.is_gone(&list)
            || listed.lines().any(|name| self.is_gone(&below(&tables, name.trim())))
    }

    /// The last pack goes, or of the single objects most, and none comes that has them. What git packs anew it brings.
    fn loses_objects(&self) -> bool {
        let objects = below(self.at, "objects");
        let inside = below(&objects, "");
        if !self.taken.keys().any(|path| path.starts_with(&inside)) {
            return false;
        }
        let pack = below(&objects, "pack");
        let is_pack = |path: &str| path.starts_with(&pack) && path.ends_with(".pack");
        let packs: Vec<String> = self.names(&pack).into_iter().filter(|path| is_pack(path)).collect();
        if packs.iter().any(|path| !self.is_gone(path))
            || self.brought.keys().any(|path| is_pack(path) && self.objects.is_sound_pack(path))
        {
            return false;
        }
        let is_fan = |path: &String| path.rsplit('/').next().is_some_and(|name| name.len() == 2);
        let loose: Vec<String> =
            self.names(&objects).iter().filter(|path| is_fan(path)).flat_map(|at| self.names(at)).collect();
        let gone = loose.iter().filter(|path| self.is_gone(path)).count();
        !packs.is_empty() || gone > loose.len() - gone
    }

    /// An object goes that a name still stands for, whatever comes in its place.
    fn loses_what_it_names(&self) -> bool {
        let store = below(self.at, "objects");
        let inside = below(&store, "");
        if !self.taken.keys().any(|path| path.starts_with(&inside)) {
            return false;
        }
        let after = |name: &str| self.objects.text_after(&below(self.at, name)).unwrap_or_default();
        let head = after("HEAD");
        let tip = head.strip_prefix("ref:").map_or_else(|| head.clone(), |branch| after(branch.trim()));
        let packed = after("packed-refs");
        let names = packed.lines().filter(|line| !line.starts_with('#')).take(MOST_TIPS);
        let names = names.filter_map(|line| line.trim_start_matches('^').split(' ').next());
        names.chain([tip.trim()]).any(|id| self.objects.loses(&store, id))
    }

    /// The branch that is checked out goes, and nothing says where else it or the user is now.
    fn loses_its_branch(&self) -> bool {
        let (head, packed) = (below(self.at, "HEAD"), below(self.at, "packed-refs"));
        let branch = |head: &str| head.strip_prefix("ref:").map(|rest| rest.trim().to_owned());
        let is_in = |names: &str, branch: &str| {
            let ending = format!(" {branch}");
            names.lines().any(|line| line.ends_with(&ending))
        };
        let now = |path: &str| own::open(self.mount, path).and_then(|file| own::read(&file, NAMES_BYTES));
        let text = |path: &str| now(path).and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        let Some(was) = branch(&text(&head)) else { return false };
        let is_there = |branch: &str| own::open(self.mount, &below(self.at, branch)).is_some();
        if !is_there(&was) && !is_in(&text(&packed), &was) {
            return false;
        }
        let names = self.objects.text_after(&packed).unwrap_or_default();
        let stays = |branch: &str| {
            let path = below(self.at, branch);
            self.brought.get(path.as_str()) == Some(&Kind::File)
                || !self.is_gone(&path) && is_there(branch)
                || is_in(&names, branch)
        };
        // Without a branch HEAD names what is checked out itself.
        let goes =
            self.objects.text_after(&head).and_then(|head| branch(&head)).is_some_and(|is| !stays(&is));
        goes && !stays(&was)
    }

    /// What the user has in a directory, each with its path.
    fn names(&self, directory: &str) -> Vec<String> {
        let names = overlay::names(&self.mount.root, directory).filter(|name| name != "." && name != "..");
        names.map(|name| below(directory, &name)).collect()
    }
}

#[cfg(test)]
pub(super) mod tests;
