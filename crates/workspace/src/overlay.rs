//! Staged mounts: the agent works in an overlay above the user's directory at native speed. What policy would not let it
//! read is found before it starts and masked; what it changed is taken into the stage when somebody looks, and when it
//! is over.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use chaperone_fs::{Below, Seen, Take, Tree};
use chaperone_protocol::{name_as_text, native};
use chaperone_staging::{BaseVersion, Kind, Touched};
use parking_lot::Mutex;
use rustix::fs::{AtFlags, Dir, Mode, OFlags, ResolveFlags};

use crate::root::Root;

/// Objects of a directory that are looked at before the agent starts. Protects memory and patience; a larger directory is
/// served by the broker.
const MAX_OBJECTS: usize = 300_000;
/// Directories inside each other that are looked at.
const MAX_DEPTH: usize = 256;

/// What was in the directory when the layers were begun, what of it was committed since, and what could not be staged of layers
/// that are gone.
const BEGUN: &str = "before";
const COMMITTED: &str = "committed";
const LEFT_OUT: &str = "left-out";

/// The layers of one staged mount.
#[derive(Debug)]
pub struct Overlay {
    dir: PathBuf,
    seen: Mutex<Seen>,
}

/// What is in a directory, by its path in it.
pub type Survey = BTreeMap<String, BaseVersion>;

impl Overlay {
    /// Layers that a session left when its broker ended.
    #[must_use]
    pub fn left(stage_dir: &Path) -> Option<Self> {
        let dir = stage_dir.join("overlay");
        dir.is_dir().then(|| Self { dir, seen: Mutex::default() })
    }

    /// Empty layers over the directory as the survey found it.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn make(stage_dir: &Path, root: &Root, survey: &Survey) -> io::Result<Self> {
        let dir = stage_dir.join("overlay");
        let overlay = Self { dir, seen: Mutex::default() };
        for folder in [overlay.upper(), overlay.work()] {
            fs::create_dir_all(folder)?;
        }
        let mode = rustix::fs::statat(&*root.get()?, "", AtFlags::EMPTY_PATH)?.st_mode & 0o777;
        rustix::fs::chmod(overlay.upper(), Mode::from_raw_mode(mode | 0o700))?;
        overlay.note(BEGUN, survey.iter().map(|(path, version)| (path.as_str(), Some(*version))))?;
        Ok(overlay)
    }

    #[must_use]
    pub fn upper(&self) -> PathBuf {
        self.dir.join("upper")
    }

    #[must_use]
    pub fn work(&self) -> PathBuf {
        self.dir.join("work")
    }

    /// Take what the agent changed into the stage. With the cell `over`, the layers go. Returns what cannot be staged.
    ///
    /// # Errors
    /// When the layers cannot be read or the stage not be written; they stay then.
    pub fn take_over(&self, tree: &Tree, over: bool) -> io::Result<Vec<String>> {
        let mut seen = self.seen.lock();
        // Taken over for the last time before, perhaps by whoever waited for this lock.
        if !self.upper().is_dir() {
            return self.left_out();
        }
        let take = if over { Take::Files } else { Take::Copies };
        let left_out = tree.take_over(&self.upper(), &self.below()?, &mut seen, take)?;
        if over {
            tree.sync()?;
            // The files are the stage's now: looked at again, or half removed, they would be others.
            fs::write(self.dir.join(LEFT_OUT), serde_json::to_vec(&left_out)?)?;
            fs::rename(self.upper(), self.dir.join("taken"))?;
            for layer in ["taken", "work"] {
                crate::tool_caches::remove(&self.dir.join(layer))?;
            }
            if left_out.is_empty() {
                crate::tool_caches::remove(&self.dir)?;
            }
        }
        Ok(left_out)
    }

    fn left_out(&self) -> io::Result<Vec<String>> {
        match fs::read(self.dir.join(LEFT_OUT)) {
            Ok(names) => Ok(serde_json::from_slice(&names)?),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(e),
        }
    }

    /// These paths were committed: what the user has there now is what later changes are based on. So is what has other names since.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn committed(&self, root: &Root, paths: &[String], touched: &Touched) -> io::Result<()> {
        if !self.upper().is_dir() {
            return Ok(());
        }
        let now = |path: &String| {
            let fd = open(root, path, OFlags::PATH).ok()?;
            rustix::fs::fstat(&fd).ok().map(|stat| BaseVersion::of(&stat))
        };
        let below = if touched.is_empty() { Below::default() } else { self.below()? };
        let others = below.now.iter();
        let others =
            others.filter_map(|(path, version)| Some((path.as_str(), Some(touched.after(version)?))));
        self.note(COMMITTED, others.chain(paths.iter().map(|path| (path.as_str(), now(path)))))
    }

    fn note<'a>(
        &self,
        name: &str,
        versions: impl Iterator<Item = (&'a str, Option<BaseVersion>)>,
    ) -> io::Result<()> {
        let file = File::options().append(true).create(true).open(self.dir.join(name))?;
        let mut out = BufWriter::new(file);
        for line in versions {
            serde_json::to_writer(&mut out, &line)?;
            out.write_all(b"\n")?;
        }
        out.flush()
    }

    /// What was in the directory at the start, with what was committed since.
    fn below(&self) -> io::Result<Below> {
        let mut below = Below::default();
        read_notes(File::open(self.dir.join(BEGUN))?, &mut below.now)?;
        let folders = below.now.iter().filter(|(_, version)| version.kind() == Some(Kind::Dir));
        below.merged = folders.map(|(path, _)| path.clone()).collect();
        match File::open(self.dir.join(COMMITTED)) {
            Ok(file) => read_notes(file, &mut below.now)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        Ok(below)
    }
}

fn read_notes(file: File, into: &mut Survey) -> io::Result<()> {
    for line in BufReader::new(file).lines() {
        let (path, version): (String, Option<BaseVersion>) = serde_json::from_str(&line?)?;
        match version {
            Some(version) => drop(into.insert(path, version)),
            None => drop(into.remove(&path)),
        }
    }
    Ok(())
}

/// Look at everything in a directory. `None` with a reason when an overlay cannot serve it: files of other owners cannot
/// be changed in one, and the mounts in it would not be seen.
///
/// # Errors
/// When the directory cannot be read.
pub fn survey(root: &Root) -> io::Result<Result<Survey, &'static str>> {
    let ids = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let device = rustix::fs::statat(&*root.get()?, "", AtFlags::EMPTY_PATH)?.st_dev;
    let mut survey = Survey::new();
    let mut folders = vec![(String::new(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let fd = open(root, &folder, OFlags::RDONLY | OFlags::DIRECTORY)?;
        for entry in Dir::read_from(&fd)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let stat = rustix::fs::statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let name = &*name_as_text(name.to_bytes());
            if (stat.st_uid, stat.st_gid) != ids {
                return Ok(Err("files in it belong to others"));
            }
            if stat.st_dev != device {
                return Ok(Err("another file system is mounted in it"));
            }
            if survey.len() >= MAX_OBJECTS || depth >= MAX_DEPTH {
                return Ok(Err("it is too large"));
            }
            let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            let version = BaseVersion::of(&stat);
            if version.kind() == Some(Kind::Dir) {
                folders.push((path.clone(), depth + 1));
            }
            survey.insert(path, version);
        }
    }
    Ok(Ok(survey))
}

/// Paths of everything in a directory, relative to it; `None` when they are more than `most`.
///
/// # Errors
/// When it cannot be read whole.
pub(crate) fn names_below(root: &Root, directory: &str, most: usize) -> io::Result<Option<Vec<String>>> {
    let mut names: Vec<String> = Vec::new();
    let mut todo = vec![String::new()];
    while let Some(below) = todo.pop() {
        let fd = open(root, &format!("{directory}{below}"), OFlags::RDONLY | OFlags::DIRECTORY)?;
        for entry in Dir::read_from(&fd)? {
            let entry = entry?;
            if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            if names.len() >= most {
                return Ok(None);
            }
            let name = format!("{below}/{}", name_as_text(entry.file_name().to_bytes()));
            let stat = rustix::fs::statat(&fd, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
            if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir() {
                todo.push(name.clone());
            }
            names.push(name.trim_start_matches('/').to_owned());
        }
    }
    Ok(Some(names))
}

/// Files of a directory that have one of these sizes; of a large one, those among its first `most` names.
///
/// # Errors
/// When it cannot be read whole.
pub(crate) fn files_of(root: &Root, sizes: &HashSet<u64>, most: usize) -> io::Result<Vec<(String, u64)>> {
    let (mut found, mut seen) = (Vec::new(), 0);
    let mut todo = VecDeque::from([String::new()]);
    while let Some(below) = todo.pop_front() {
        let fd = open(root, &below, OFlags::RDONLY | OFlags::DIRECTORY)?;
        for entry in Dir::read_from(&fd)? {
            let entry = entry?;
            if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            if seen >= most {
                return Ok(found);
            }
            seen += 1;
            let name = name_as_text(entry.file_name().to_bytes());
            let path = if below.is_empty() { name.into_owned() } else { format!("{below}/{name}") };
            let stat = rustix::fs::statat(&fd, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
            let size = stat.st_size.cast_unsigned();
            match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
                rustix::fs::FileType::Directory => todo.push_back(path),
                rustix::fs::FileType::RegularFile if sizes.contains(&size) => found.push((path, size)),
                _ => {}
            }
        }
    }
    Ok(found)
}

/// The names in what is at a path of a directory, as text, `.` and `..` among them; none where it cannot be listed.
pub(crate) fn names(root: &Root, path: &str) -> impl Iterator<Item = String> {
    let entries = open(root, path, OFlags::RDONLY | OFlags::DIRECTORY).and_then(Dir::read_from);
    let entries = entries.into_iter().flatten().flatten();
    entries.map(|entry| name_as_text(entry.file_name().to_bytes()).into_owned())
}

/// Open what is at a path of a directory, following no link.
pub(crate) fn open(root: &Root, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let at = native(if path.is_empty() { "." } else { path });
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(&*root.get()?, &*at, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty(), how)
}
