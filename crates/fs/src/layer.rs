//! The upper layer of an overlay that an agent worked in, taken into the stage: from there its changes are shown,
//! committed and undone like those of the mediated file system.
//!
//! What a layer says is of `Documentation/filesystems/overlayfs.rst`: a character device 0:0 is a deletion, a directory
//! with `user.overlay.opaque` hides what is below, anything else is there with its whole content.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use chaperone_names::{name_as_text, native};
use chaperone_staging::{BaseVersion, Kind};
use rustix::fs::{AtFlags, Dir, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::journal::{Entry, Record, blob_of};
use crate::tree::{MAX_ENTRIES, State, Tree, errno, join};

/// Directories inside each other that are followed. Protects the stack; a deeper one is left out and named.
const MAX_DEPTH: usize = 256;
/// Bytes of a file of which a copy is compared with what is there at the end; of a longer one its stamp says whether it is the same.
const MOST_COMPARED: u64 = 256 << 20;
/// Changes that are recorded together.
const TOGETHER: usize = 4096;

/// What was taken over of each path, to notice what changed since.
#[derive(Debug, Default)]
pub struct Seen(HashMap<String, Taken>);

#[derive(Debug)]
struct Taken {
    object: Found,
    /// The SHA-256 of the content, where it was copied while the agent could write on.
    copied: Option<String>,
}

/// An object of the layer, or the absence of one of the user's.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    File { ino: u64, size: u64, mtime_ns: i128, ctime_ns: i128, mode: u32, links: u64 },
    Dir { opaque: bool, mode: u32 },
    Symlink { target: String },
    Gone,
}

/// How files come into the stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// As copies: the agent goes on writing in the layer.
    Copies,
    /// As they are: nobody writes in the layer any more.
    Files,
}

/// What is below a layer.
#[derive(Debug, Default)]
pub struct Below {
    /// What is in the user's directory, as far as it is known: as it was when the layer was begun, and what was committed since.
    pub now: BTreeMap<String, BaseVersion>,
    /// The directories that were there when the layer was begun: those of the layer show what is below them. Others are whole in it.
    pub merged: HashSet<String>,
}

struct Walk {
    found: BTreeMap<String, Found>,
    left_out: Vec<String>,
}

impl Tree {
    /// Bring the stage to what the layer `upper` over the user's directory says now. The names of what cannot be staged are returned:
    /// sockets, pipes.
    ///
    /// # Errors
    /// When the layer cannot be read or the stage not be written; then the stage is as far as it came, and nothing of
    /// the layer is lost.
    pub fn take_over(
        &self,
        upper: &Path,
        below: &Below,
        seen: &mut Seen,
        take: Take,
    ) -> Result<Vec<String>, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = rustix::fs::open(upper, flags, Mode::empty())?;
        let mut walk = Walk { found: BTreeMap::new(), left_out: Vec::new() };
        walk.folder(&root, "", 0)?;
        let found = with_deletions(walk.found, below);
        let mut names = Names::of(&found);
        let mut state = self.lock();
        let mut record = Record::new();
        let gone: Vec<String> = state.entries.keys().filter(|p| !found.contains_key(*p)).cloned().collect();
        for path in gone {
            seen.0.remove(&path);
            record.push((path, Entry::Base));
        }
        for (path, object) in &found {
            let is_seen = seen.0.get(path).is_some_and(|taken| {
                let copied = taken.copied.as_deref().filter(|_| take == Take::Files);
                taken.object == *object && Self::is_same(&root, path, copied)
            });
            if is_seen || take == Take::Files && self.is_taken(&state, path, object) {
                names.kept(&state, path, object);
                if !is_seen {
                    seen.0.insert(path.clone(), Taken { object: object.clone(), copied: None });
                }
                continue;
            }
            let entry = self.entry(&mut state, &root, path, object, (&below.now, take), &mut names)?;
            let is_compared =
                take == Take::Copies && matches!(object, Found::File { size, .. } if *size <= MOST_COMPARED);
            let blob = entry.as_ref().and_then(blob_of).filter(|_| is_compared);
            let copied = blob.map(|blob| {
                File::open(self.blob(blob)).and_then(|file| chaperone_staging::sha256(&file)).map_err(errno)
            });
            let copied = copied.transpose()?;
            if let Some(entry) = entry {
                record.push((path.clone(), entry));
            } else if state.entries.contains_key(path) {
                record.push((path.clone(), Entry::Base));
            }
            seen.0.insert(path.clone(), Taken { object: object.clone(), copied });
            if record.len() >= TOGETHER {
                self.record(&mut state, std::mem::take(&mut record))?;
            }
        }
        if !record.is_empty() {
            self.record(&mut state, record)?;
        }
        Ok(walk.left_out)
    }

    /// Whether the stage has this very file, by a look that did not come to its end.
    fn is_taken(&self, state: &State, path: &str, object: &Found) -> bool {
        let (Found::File { ino, .. }, Some(blob)) = (object, state.entries.get(path).and_then(blob_of))
        else {
            return false;
        };
        rustix::fs::stat(self.blob(blob)).is_ok_and(|stat| stat.st_ino == *ino)
    }

    /// Whether what was copied of a file is what is there now. A mapping may have written since without a sign of it.
    fn is_same(root: &OwnedFd, path: &str, copied: Option<&str>) -> bool {
        let Some(copied) = copied else { return true };
        let now = beneath(root, path, OFlags::RDONLY | OFlags::NONBLOCK).map(File::from);
        now.is_ok_and(|now| chaperone_staging::sha256(&now).is_ok_and(|now| now == *copied))
    }

    fn entry(
        &self,
        state: &mut State,
        root: &OwnedFd,
        path: &str,
        object: &Found,
        (before, take): (&BTreeMap<String, BaseVersion>, Take),
        names: &mut Names,
    ) -> Result<Option<Entry>, Errno> {
        let was = before.get(path).copied();
        let replaced = was.filter(|v| v.kind() != Some(Kind::Dir));
        Ok(Some(match object {
            Found::Gone => Entry::Gone { base: was, dir: was.is_some_and(|v| v.kind() == Some(Kind::Dir)) },
            Found::Dir { mode, .. } if was.is_none_or(|v| v.kind() != Some(Kind::Dir)) => {
                Entry::Dir { opaque: true, mode: *mode, base: was }
            }
            // A directory of the user's with changes in it.
            Found::Dir { .. } => return Ok(None),
            Found::Symlink { target } => Entry::Symlink { target: target.clone(), base: replaced },
            Found::File { ino, mode, links, .. } => {
                let blob = match (names.known(*ino), take) {
                    (Some((blob, first)), _) => {
                        state.links.share(blob, first);
                        blob
                    }
                    (None, Take::Files) if *links == 1 && !names.several.contains(ino) => {
                        self.linked_blob(state, root, path)?
                    }
                    (None, _) => self.copied_blob(state, root, path)?,
                };
                names.first.entry(*ino).or_insert_with(|| (blob, path.to_owned()));
                Entry::File { blob, base: replaced, mode: *mode, origin: None, cleared: true }
            }
        }))
    }

    fn copied_blob(&self, state: &mut State, root: &OwnedFd, path: &str) -> Result<u64, Errno> {
        let file = beneath(root, path, OFlags::RDONLY | OFlags::NONBLOCK)?;
        let stat = rustix::fs::fstat(&file)?;
        self.blob_with(state, &File::from(file), &stat).map(|(blob, _)| blob)
    }

    /// The file itself under a second name, until its first one goes with the layer.
    fn linked_blob(&self, state: &mut State, root: &OwnedFd, path: &str) -> Result<u64, Errno> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let folder = beneath(root, folder, OFlags::PATH | OFlags::DIRECTORY)?;
        let blob = state.next_blob;
        state.next_blob += 1;
        let at = self.blob(blob);
        rustix::fs::linkat(&folder, &*native(name), rustix::fs::CWD, &at, AtFlags::empty())?;
        rustix::fs::chmod(&at, Mode::from_raw_mode(0o600))?;
        Ok(blob)
    }
}

/// Files of the layer that have several names.
#[derive(Default)]
struct Names {
    /// Inode numbers of such files.
    several: HashSet<u64>,
    /// What was taken of each, by its first name.
    first: HashMap<u64, (u64, String)>,
}

impl Names {
    fn of(found: &BTreeMap<String, Found>) -> Self {
        let mut names = Self::default();
        let mut once = HashSet::new();
        for object in found.values() {
            if let Found::File { ino, .. } = object
                && !once.insert(*ino)
            {
                names.several.insert(*ino);
            }
        }
        names
    }

    /// What was taken of a file under another name.
    fn known(&self, ino: u64) -> Option<(u64, &str)> {
        let (blob, first) = self.first.get(&ino).filter(|_| self.several.contains(&ino))?;
        Some((*blob, first))
    }

    /// What was taken over before, and is the same.
    fn kept(&mut self, state: &State, path: &str, object: &Found) {
        if let Found::File { ino, .. } = object
            && self.several.contains(ino)
            && let Some(blob) = state.entries.get(path).and_then(blob_of)
        {
            self.first.entry(*ino).or_insert_with(|| (blob, path.to_owned()));
        }
    }
}

impl Walk {
    fn folder(&mut self, folder: &OwnedFd, at: &str, depth: usize) -> Result<(), Errno> {
        for entry in Dir::read_from(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if self.found.len() >= MAX_ENTRIES {
                return Err(Errno::NOSPC);
            }
            let path = join(at, &name_as_text(name.to_bytes()));
            let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let mode = stat.st_mode & 0o777;
            match stat.st_mode & 0o170_000 {
                0o020_000 if stat.st_rdev == 0 => drop(self.found.insert(path, Found::Gone)),
                0o100_000 => {
                    readable(folder, name, &stat, 0o400)?;
                    self.found.insert(path, file(&stat));
                }
                0o120_000 => {
                    let target = rustix::fs::readlinkat(folder, name, Vec::new())?;
                    let target = name_as_text(target.as_bytes()).into_owned();
                    self.found.insert(path, Found::Symlink { target });
                }
                0o040_000 if depth < MAX_DEPTH => {
                    readable(folder, name, &stat, 0o700)?;
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    let inner = rustix::fs::openat(folder, name, flags, Mode::empty())?;
                    let opaque = is_opaque(&inner)?;
                    self.found.insert(path.clone(), Found::Dir { opaque, mode });
                    self.folder(&inner, &path, depth + 1)?;
                }
                _ => self.left_out.push(path),
            }
        }
        Ok(())
    }
}

/// Deleted directories and those that do not show what is below them take everything along that was in them and is not in the layer.
fn with_deletions(mut found: BTreeMap<String, Found>, below: &Below) -> BTreeMap<String, Found> {
    let shows = |path: &str, object: &Found| {
        matches!(object, Found::Dir { opaque: false, .. }) && below.merged.contains(path)
    };
    let hiding: Vec<String> =
        found.iter().filter(|(path, object)| !shows(path, object)).map(|(path, _)| path.clone()).collect();
    for folder in hiding {
        let inside = format!("{folder}/");
        for (path, _) in below.now.range(inside.clone()..).take_while(|(path, _)| path.starts_with(&inside)) {
            found.entry(path.clone()).or_insert(Found::Gone);
        }
    }
    found
}

fn file(stat: &Stat) -> Found {
    let time = |seconds: i64, nanoseconds: u64| i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    Found::File {
        ino: stat.st_ino,
        size: stat.st_size.cast_unsigned(),
        mtime_ns: time(stat.st_mtime, stat.st_mtime_nsec),
        ctime_ns: time(stat.st_ctime, stat.st_ctime_nsec),
        mode: stat.st_mode & 0o777,
        links: stat.st_nlink,
    }
}

fn is_opaque(folder: &OwnedFd) -> Result<bool, Errno> {
    let mut value = [0u8; 8];
    match rustix::fs::fgetxattr(folder, c"user.overlay.opaque", &mut value[..]) {
        Ok(n) => Ok(value.get(..n) == Some(b"y")),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(false),
        Err(e) => Err(e),
    }
}

/// The agent may have taken our right to look from its own files. Nobody but it wrote in the layer's directories, and a
/// name of it is never followed when it is a link.
fn readable(folder: &OwnedFd, name: &CStr, stat: &Stat, needed: u32) -> Result<(), Errno> {
    if stat.st_mode & needed == needed {
        return Ok(());
    }
    let name: CString = name.to_owned();
    let object =
        rustix::fs::openat(folder, &name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let now = rustix::fs::fstat(&object)?;
    if now.st_mode & 0o170_000 != stat.st_mode & 0o170_000 {
        return Err(Errno::AGAIN);
    }
    let at = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&object.as_fd()));
    rustix::fs::chmod(at, Mode::from_raw_mode(now.st_mode & 0o777 | needed))
}

fn beneath(root: &OwnedFd, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    use rustix::fs::ResolveFlags;
    let at = native(if path.is_empty() { "." } else { path });
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, &*at, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty(), how)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::ffi::OsStringExt;
    use std::path::PathBuf;

    use chaperone_quota::Quota;
    use chaperone_staging::Op;

    use super::*;

    struct Place {
        docs: PathBuf,
        upper: PathBuf,
        tree: Tree,
        _own: tempfile::TempDir,
    }

    impl Place {
        /// An empty layer over a directory with these files, which hold their own paths.
        fn new(files: &[&str]) -> Self {
            let own = tempfile::tempdir().unwrap();
            let (docs, upper) = (own.path().join("docs"), own.path().join("upper"));
            fs::create_dir(&docs).unwrap();
            fs::create_dir(&upper).unwrap();
            for file in files {
                fs::create_dir_all(docs.join(file).parent().unwrap()).unwrap();
                fs::write(docs.join(file), file).unwrap();
            }
            let root = rustix::fs::open(&docs, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
            let tree = Tree::open(&own.path().join("stage"), root, &Quota::unlimited()).unwrap();
            Self { docs, upper, tree, _own: own }
        }

        /// What is in the directory at these paths; `merged` are directories that were there at the beginning.
        fn below(&self, paths: &[&str], merged: &[&str]) -> Below {
            let version = |path: &&str| {
                let stat = rustix::fs::lstat(self.docs.join(path)).unwrap();
                ((*path).to_owned(), BaseVersion::of(&stat))
            };
            let merged = merged.iter().map(|path| (*path).to_owned()).collect();
            Below { now: paths.iter().map(version).collect(), merged }
        }
    }

    #[test]
    fn names_of_one_file_come_as_names_of_one_file() {
        let Place { upper, tree, .. } = &Place::new(&[]);
        let before = Below::default();
        let mut seen = Seen::default();

        fs::write(upper.join("new"), "new").unwrap();
        fs::hard_link(upper.join("new"), upper.join("newer")).unwrap();
        for take in [Take::Copies, Take::Copies, Take::Files] {
            assert!(tree.take_over(upper, &before, &mut seen, take).unwrap().is_empty());
            let same = |path: &str| {
                let change = tree.changes().unwrap().into_iter().find(|change| change.path == path)?;
                Some(change.same_as.map(|same| same.path))
            };
            assert_eq!(same("newer"), Some(Some("new".to_owned())));
            assert_eq!(same("new"), Some(None));
            seen = Seen::default();
        }
        fs::remove_file(upper.join("newer")).unwrap();
        tree.take_over(upper, &before, &mut seen, Take::Files).unwrap();
        let left = tree.changes().unwrap().into_iter().find(|change| change.path == "new").unwrap();
        assert_eq!((fs::read(left.blob.unwrap()).unwrap(), left.same_as), (b"new".to_vec(), None));
    }

    fn changes(tree: &Tree) -> Vec<(String, Op)> {
        let mut changes: Vec<_> = tree.changes().unwrap().into_iter().map(|c| (c.path, c.op)).collect();
        changes.sort_by(|a, b| a.0.cmp(&b.0));
        changes
    }

    fn expected(of: &[(&str, Op)]) -> Vec<(String, Op)> {
        of.iter().map(|(path, op)| ((*path).to_owned(), *op)).collect()
    }

    #[test]
    fn a_layer_is_taken_over_as_often_as_it_changes() {
        let place = Place::new(&["was-folder/inner", "same", "changed"]);
        let before = place.below(&["was-folder", "was-folder/inner", "same", "changed"], &["was-folder"]);
        let Place { docs, upper, tree, .. } = &place;
        let mut seen = Seen::default();

        fs::write(upper.join("was-folder"), "a file now").unwrap();
        fs::copy(docs.join("same"), upper.join("same")).unwrap();
        fs::write(upper.join("changed"), "after").unwrap();
        fs::create_dir_all(upper.join("new/deep")).unwrap();
        fs::write(upper.join("new/deep/file"), "deep").unwrap();
        std::os::unix::fs::symlink("changed", upper.join("link")).unwrap();
        std::os::unix::net::UnixListener::bind(upper.join("socket")).unwrap();
        let left_out = tree.take_over(upper, &before, &mut seen, Take::Copies).unwrap();
        assert_eq!(left_out, ["socket"]);
        for byte in [0xfe, 0xff] {
            let name = std::ffi::OsString::from_vec(vec![b'n', byte]);
            fs::write(upper.join(name), "").unwrap();
        }
        let left_out = tree.take_over(upper, &before, &mut seen, Take::Copies).unwrap();
        assert_eq!(left_out, ["socket"]);
        for name in ["n\\xfe", "n\\xff"] {
            assert!(changes(tree).contains(&(name.to_owned(), Op::Create)));
            fs::remove_file(upper.join(native(name))).unwrap();
        }
        tree.take_over(upper, &before, &mut seen, Take::Copies).unwrap();
        let all = [
            ("changed", Op::Modify),
            ("link", Op::Create),
            ("new", Op::Create),
            ("new/deep", Op::Create),
            ("new/deep/file", Op::Create),
            ("was-folder", Op::Create),
            ("was-folder", Op::Delete),
            ("was-folder/inner", Op::Delete),
        ];
        let mut now = changes(tree);
        now.sort_by_key(|(path, op)| (path.clone(), *op == Op::Delete));
        assert_eq!(now, expected(&all));

        // What was thrown away comes back only when it changes again.
        let thrown_away = ["changed".to_owned(), "was-folder".to_owned(), "was-folder/inner".to_owned()];
        assert!(tree.discard(&thrown_away, tree.version()).unwrap().is_empty());
        fs::remove_dir_all(upper.join("new")).unwrap();
        tree.take_over(upper, &before, &mut seen, Take::Copies).unwrap();
        assert_eq!(changes(tree), expected(&[("link", Op::Create)]));
        fs::write(upper.join("changed"), "after all").unwrap();
        tree.take_over(upper, &before, &mut seen, Take::Files).unwrap();
        assert_eq!(changes(tree), expected(&[("changed", Op::Modify), ("link", Op::Create)]));
        fs::remove_dir_all(upper).unwrap();
        let change = tree.changes().unwrap().into_iter().find(|c| c.path == "changed").unwrap();
        assert_eq!(fs::read(change.blob.unwrap()).unwrap(), b"after all");
    }

    #[test]
    fn what_a_mapping_wrote_after_a_look_is_there_at_the_end() {
        let Place { upper, tree, .. } = &Place::new(&[]);
        let (mut seen, at) = (Seen::default(), upper.join("db"));
        fs::write(&at, "AAAA").unwrap();
        fs::write(upper.join("other"), "same").unwrap();
        tree.take_over(upper, &Below::default(), &mut seen, Take::Copies).unwrap();
        // The stamp of a file that is written through a mapping stays until the kernel writes its pages out.
        let stamp = rustix::fs::stat(&at).unwrap();
        fs::write(&at, "BBBB").unwrap();
        let Some(Taken { object, .. }) = seen.0.get_mut("db") else { panic!() };
        assert_ne!(stamp.st_mtime_nsec, rustix::fs::stat(&at).unwrap().st_mtime_nsec);
        *object = file(&rustix::fs::stat(&at).unwrap());
        tree.take_over(upper, &Below::default(), &mut seen, Take::Files).unwrap();
        let text = |name: &str| {
            let change = tree.changes().unwrap().into_iter().find(|change| change.path == name).unwrap();
            fs::read_to_string(change.blob.unwrap()).unwrap()
        };
        assert_eq!([text("db"), text("other")], ["BBBB", "same"]);
    }

    #[test]
    fn what_goes_from_a_directory_that_was_committed_is_a_deletion() {
        let files = ["new/one", "new/two", "new/deep/three"];
        let place = Place::new(&files);
        let below = place.below(&["new", "new/one", "new/two", "new/deep", "new/deep/three"], &[]);
        let (Place { upper, tree, .. }, mut seen) = (&place, Seen::default());
        fs::create_dir_all(upper.join("new/deep")).unwrap();
        for file in files {
            fs::write(upper.join(file), file).unwrap();
        }
        fs::remove_file(upper.join("new/one")).unwrap();
        fs::rename(upper.join("new/deep"), upper.join("new/moved")).unwrap();
        tree.take_over(upper, &below, &mut seen, Take::Copies).unwrap();
        let gone: Vec<_> = changes(tree).into_iter().filter(|(_, op)| *op == Op::Delete).collect();
        let all = [("new/deep", Op::Delete), ("new/deep/three", Op::Delete), ("new/one", Op::Delete)];
        assert_eq!(gone, expected(&all));
        assert!(changes(tree).contains(&("new/moved/three".to_owned(), Op::Create)));
    }

    #[test]
    fn what_was_taken_is_not_taken_for_a_change_when_it_is_looked_at_again() {
        let Place { upper, tree, .. } = &Place::new(&[]);
        fs::write(upper.join("tool"), "#!/bin/sh\n").unwrap();
        rustix::fs::chmod(upper.join("tool"), Mode::from_raw_mode(0o755)).unwrap();
        for _ in 0..2 {
            tree.take_over(upper, &Below::default(), &mut Seen::default(), Take::Files).unwrap();
            let modes: Vec<u32> = tree.changes().unwrap().iter().map(|change| change.mode).collect();
            assert_eq!(modes, [0o755]);
        }
    }
}
