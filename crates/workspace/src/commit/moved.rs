//! What only moves: an old name that goes, and a new one of the same object. They belong together: while the new name waits for an
//! answer, the old one stays, so that no commit takes out of the directory what it does not bring back to it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chaperone_staging::{Change, Kind, Op, Together, Tree as Stage};

use super::link::Links;
use super::own;
use crate::mount::LiveMount;
use crate::overlay;

/// Why a removal stays while its new name is not committed; the user may confirm it like any other.
pub(super) const MOVED: &str = "moved_with";
/// Bytes up to which contents are compared; larger ones are the same when size and time are.
const COMPARED: u64 = 256 << 20;
/// Files of the directory among which another copy is looked for.
const MOST_FILES: usize = 20_000;

/// Of all that is staged, what moves. A file of which the directory has another copy moves without that.
#[derive(Debug, Default)]
pub(super) struct Moves {
    /// New names by old ones.
    names: BTreeMap<String, Vec<String>>,
    /// Old names, each with a new name of its own where nothing was.
    paired: HashSet<String>,
    /// Files whose values are in others by now, with all of those.
    spread: BTreeMap<String, Vec<String>>,
}

/// What a content is told by.
type Told = (u64, String);

impl Moves {
    pub fn of(mount: &LiveMount, all: &[Change], stage: &Stage) -> Self {
        let spread = given_away(all);
        let gone = || all.iter().filter(|c| c.op == Op::Delete && c.kind != Kind::Dir);
        let comes = || {
            let brings = |c: &&Change| {
                matches!(c.op, Op::Create | Op::Modify) && (c.blob.is_some() || c.target.is_some())
            };
            all.iter().filter(brings)
        };
        if gone().next().is_none() || comes().next().is_none() {
            return Self { spread, ..Self::default() };
        }
        let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let old: HashSet<&str> = gone().map(|c| c.path.as_str()).collect();
        for change in comes() {
            let other = change.same_as.as_ref().filter(|same| same.version.is_some()).map(|same| &same.path);
            let froms: BTreeSet<&String> = change.origin.iter().chain(other).collect();
            for from in froms.into_iter().filter(|from| old.contains(from.as_str())) {
                names.entry(from.clone()).or_default().push(change.path.clone());
            }
        }
        add_same_links(mount, (gone(), comes()), &mut names);
        add_same_files(
            mount,
            stage,
            (&gone().collect::<Vec<_>>(), &comes().collect::<Vec<_>>()),
            all,
            &mut names,
        );
        let paired = pair(&names, all);
        Self { names, paired, spread }
    }

    /// The same, and what waits for all that holds its values by now.
    #[must_use]
    pub fn with(mut self, spread: BTreeMap<String, Vec<String>>) -> Self {
        self.spread.extend(spread);
        self
    }

    /// What the user picked, with the old names of what moves in it, and the directories that these leave. `go_along` says, of an
    /// old name's new ones, whether those that were picked take it along.
    pub fn with_old_names(
        &self,
        all: &[Change],
        picked: Vec<Change>,
        go_along: impl Fn(&[String], &dyn Fn(&String) -> bool) -> bool,
    ) -> Vec<Change> {
        let news: HashSet<&str> =
            picked.iter().filter(|c| c.op != Op::Delete).map(|c| c.path.as_str()).collect();
        let is_picked = |new: &String| news.contains(new.as_str());
        let old = self.names.iter().filter(|(_, new)| go_along(new, &is_picked)).map(|(old, _)| old.as_str());
        let old = old.collect();
        with_removals(all, picked, &old)
    }

    /// Lets the removals go for which the user says so, whatever becomes of the new names.
    #[must_use]
    pub fn but(mut self, is_free: &dyn Fn(&str, &[String]) -> bool) -> Self {
        self.names.retain(|old, new| !is_free(old, new));
        self.spread.retain(|old, new| !is_free(old, new));
        self.paired.retain(|old| self.names.contains_key(old));
        self
    }

    /// The removals that wait for what comes.
    pub fn keep(&self, together: &mut Together) {
        self.names.iter().for_each(|(old, new)| together.follow(old.clone(), new.clone()));
        self.spread.iter().for_each(|(old, new)| together.wait_for_all(old.clone(), new.clone()));
    }

    /// Whether the removal takes nothing away: its object comes to a name where nothing was, or the old one stays.
    pub fn has(&self, change: &Change) -> bool {
        change.op == Op::Delete && self.paired.contains(&change.path)
    }

    /// Where the object of a removal is by then.
    pub fn moved_to(&self, change: &Change) -> Option<String> {
        let names = self.names.get(&change.path).filter(|_| change.op == Op::Delete);
        names?.first().cloned()
    }

    /// A new name of what was there.
    pub fn new_name(&self, old: &str) -> Option<&str> {
        self.names.get(old).or_else(|| self.spread.get(old))?.first().map(String::as_str)
    }
}

/// Names under which the user's object went to other names, and something else of the agent's came: one takes away what the others
/// bring.
fn given_away(all: &[Change]) -> BTreeMap<String, Vec<String>> {
    let is_other =
        |c: &&Change| c.op == Op::Modify && c.blob.is_some() || c.op == Op::Rename && c.replaces.is_some();
    let stays: HashSet<&str> = all.iter().filter(is_other).map(|c| c.path.as_str()).collect();
    let mut spread: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for change in all.iter().filter(|c| c.op != Op::Delete) {
        let from = change.origin.as_deref().filter(|from| *from != change.path && stays.contains(from));
        if let Some(from) = from {
            spread.entry(from.to_owned()).or_default().push(change.path.clone());
        }
    }
    spread
}

fn with_removals(all: &[Change], picked: Vec<Change>, old: &BTreeSet<&str>) -> Vec<Change> {
    if old.is_empty() || picked.len() == all.len() {
        return picked;
    }
    let have: HashSet<(&str, bool)> = picked.iter().map(|c| (c.path.as_str(), c.op == Op::Delete)).collect();
    let is_in = |c: &Change| {
        have.contains(&(c.path.as_str(), c.op == Op::Delete)) || c.op == Op::Delete && old.contains(&*c.path)
    };
    let stays: BTreeSet<&str> = all
        .iter()
        .filter(|c| c.op == Op::Delete && c.kind != Kind::Dir && !is_in(c))
        .map(|c| c.path.as_str())
        .collect();
    let goes: HashSet<&str> = all
        .iter()
        .filter(|c| c.op == Op::Delete && c.kind == Kind::Dir)
        .map(|c| c.path.as_str())
        .filter(|folder| has_below(old, folder) && !has_below(&stays, folder))
        .collect();
    let is_left = |c: &Change| {
        c.op == Op::Delete
            && c.kind == Kind::Dir
            && std::iter::successors(Some(c.path.as_str()), |path| path.rsplit_once('/').map(|(up, _)| up))
                .any(|path| goes.contains(path))
    };
    all.iter().filter(|c| is_in(c) || is_left(c)).cloned().collect()
}

fn has_below(paths: &BTreeSet<&str>, folder: &str) -> bool {
    let below = format!("{folder}/");
    paths.range(&*below..).next().is_some_and(|path| path.starts_with(&below))
}

/// Links with the same text.
fn add_same_links<'c>(
    mount: &LiveMount,
    (gone, comes): (impl Iterator<Item = &'c Change>, impl Iterator<Item = &'c Change>),
    names: &mut BTreeMap<String, Vec<String>>,
) {
    let mut new: HashMap<&str, Vec<&Change>> = HashMap::new();
    for change in comes.filter(|c| c.kind == Kind::Symlink) {
        new.entry(change.target.as_deref().unwrap_or_default()).or_default().push(change);
    }
    if new.is_empty() {
        return;
    }
    let links = Links::default();
    for change in gone.filter(|c| c.kind == Kind::Symlink) {
        let Some(text) = links.text(mount, &change.path) else { continue };
        let same = new.get(text.as_str()).into_iter().flatten().map(|new| new.path.clone());
        add(names, &change.path, same);
    }
}

/// Files with the same content, of which no other copy stays.
fn add_same_files(
    mount: &LiveMount,
    stage: &Stage,
    (gone, comes): (&[&Change], &[&Change]),
    all: &[Change],
    names: &mut BTreeMap<String, Vec<String>>,
) {
    let size = |change: &Change| change.base.map_or(0, |base| base.size);
    let files = |change: &&&Change| change.kind == Kind::File;
    let mut sizes: HashSet<u64> = gone.iter().filter(files).map(|c| size(c)).collect();
    let mut new: HashMap<Told, Vec<&str>> = HashMap::new();
    for change in comes.iter().filter(files).filter(|c| sizes.contains(&c.size)) {
        let told = of_empty_or_large(change.size, change.mtime_ns).or_else(|| {
            let (entry, _) = stage.look(change, 0).ok()?;
            entry.sha256.map(|digest| (change.size, digest))
        });
        if let Some(told) = told {
            new.entry(told).or_default().push(&change.path);
        }
    }
    let of_new: HashSet<u64> = new.keys().map(|(size, _)| *size).collect();
    sizes.retain(|size| of_new.contains(size));
    let mut old: BTreeMap<&str, Told> = BTreeMap::new();
    for change in gone.iter().filter(files).filter(|c| sizes.contains(&size(c))) {
        let time = change.base.map_or(0, |base| base.mtime_ns);
        let told = of_empty_or_large(size(change), time).or_else(|| read(mount, &change.path, size(change)));
        if let Some(told) = told.filter(|told| new.contains_key(told)) {
            old.insert(&change.path, told);
        }
    }
    let kept = copies(mount, old.values().map(|(size, _)| *size).collect(), all);
    for (path, told) in old.into_iter().filter(|(_, told)| !kept.contains(told)) {
        add(names, path, new.get(&told).into_iter().flatten().map(|new| (*new).to_owned()));
    }
}

fn add(names: &mut BTreeMap<String, Vec<String>>, old: &str, new: impl Iterator<Item = String>) {
    let new: Vec<String> = new.collect();
    if new.is_empty() {
        return;
    }
    let known = names.entry(old.to_owned()).or_default();
    for name in new {
        if !known.contains(&name) {
            known.push(name);
        }
    }
}

/// Empty files are alike, and large ones take long: both are told by their time.
fn of_empty_or_large(size: u64, time: i128) -> Option<Told> {
    (size == 0 || size > COMPARED).then(|| (size, format!("at {time}")))
}

fn read(mount: &LiveMount, path: &str, size: u64) -> Option<Told> {
    Some((size, chaperone_staging::sha256(&own::open(mount, path)?).ok()?))
}

/// Contents of these sizes that unchanged files of the directory have.
fn copies(mount: &LiveMount, mut sizes: HashSet<u64>, all: &[Change]) -> HashSet<Told> {
    sizes.retain(|size| *size > 0 && *size <= COMPARED);
    if sizes.is_empty() {
        return HashSet::new();
    }
    let changed: HashSet<&str> =
        all.iter().flat_map(|c| [Some(c.path.as_str()), c.from.as_deref()]).flatten().collect();
    let moves = |path: &str| {
        let mut above = std::iter::successors(Some(path), |path| path.rsplit_once('/').map(|(up, _)| up));
        above.any(|path| changed.contains(path))
    };
    let there = overlay::files_of(&mount.root, &sizes, MOST_FILES).unwrap_or_default();
    let there = there.into_iter().filter(|(path, _)| !moves(path));
    there.filter_map(|(path, size)| read(mount, &path, size)).collect()
}

/// Old names that have a new name for each of them alone, where nothing was.
fn pair(names: &BTreeMap<String, Vec<String>>, all: &[Change]) -> HashSet<String> {
    let created: HashSet<&str> = all.iter().filter(|c| c.op == Op::Create).map(|c| c.path.as_str()).collect();
    let mut taken = HashSet::new();
    let mut takes = |new: &String| created.contains(new.as_str()) && taken.insert(new.clone());
    names.iter().filter(|(_, new)| new.iter().any(&mut takes)).map(|(old, _)| old.clone()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;

    use chaperone_staging::BaseVersion;

    use super::super::looked::tests::Directory;
    use super::*;

    struct Staged {
        directory: Directory,
        changes: Vec<Change>,
    }

    impl Staged {
        fn new(files: &[(&str, &str)], links: &[(&str, &str)]) -> Self {
            let directory = Directory::new(files);
            for (name, text) in links {
                symlink(text, directory.mount.source.join(name)).unwrap();
            }
            std::fs::create_dir_all(&directory.mount.stage_dir).unwrap();
            Self { directory, changes: Vec::new() }
        }

        fn comes(mut self, path: &str, text: &str) -> Self {
            let at = self.directory.mount.stage_dir.join(path.replace('/', "_"));
            std::fs::write(&at, text).unwrap();
            let mut change = Change::blank(path.to_owned(), Op::Create, Kind::File);
            (change.blob, change.size) = (Some(at), text.len() as u64);
            self.changes.push(change);
            self
        }

        fn link(mut self, path: &str, text: &str) -> Self {
            let mut change = Change::blank(path.to_owned(), Op::Create, Kind::Symlink);
            change.target = Some(text.to_owned());
            self.changes.push(change);
            self
        }

        fn goes(mut self, path: &str) -> Self {
            let stat = rustix::fs::lstat(self.directory.mount.source.join(path)).unwrap();
            let base = BaseVersion::of(&stat);
            let mut change = Change::blank(path.to_owned(), Op::Delete, base.kind().unwrap());
            change.base = Some(base);
            self.changes.push(change);
            self
        }

        fn moves(&self) -> Moves {
            let stage = super::super::site::stage(&self.directory.mount, None).unwrap();
            Moves::of(&self.directory.mount, &self.changes, &stage)
        }

        fn told(&self) -> Vec<(String, Vec<String>)> {
            self.moves().names.into_iter().collect()
        }
    }

    fn named(old: &str, new: &[&str]) -> (String, Vec<String>) {
        (old.to_owned(), new.iter().map(|new| (*new).to_owned()).collect())
    }

    #[test]
    fn what_has_the_same_content_or_text_moves() {
        let staged = Staged::new(&[("a", "one"), ("b", "two")], &[("l", "/usr/bin/python3"), ("m", "a")])
            .comes("new/a", "one")
            .comes("new/other", "six")
            .link("new/l", "/usr/bin/python3")
            .goes("a")
            .goes("b")
            .goes("l")
            .goes("m");
        assert_eq!(staged.told(), [named("a", &["new/a"]), named("l", &["new/l"])]);
    }

    #[test]
    fn of_what_has_another_copy_nothing_is_held() {
        let files = [("a", "one"), ("copy", "one"), ("c", "two"), ("d", "two"), ("e", "")];
        let staged = Staged::new(&files, &[]).comes("new/a", "one").comes("new/c", "two").comes("new/e", "");
        // Of the second both go; an empty file is none of another time.
        let staged = staged.goes("a").goes("c").goes("d").goes("e");
        assert_eq!(staged.told(), [named("c", &["new/c"]), named("d", &["new/c"])]);
        assert_eq!(staged.moves().paired.len(), 1);
    }

    #[test]
    fn what_began_as_a_file_of_the_users_moves_whatever_was_written_to_it() {
        let mut staged = Staged::new(&[("a", "one")], &[]).comes("b", "one and more").goes("a");
        staged.changes[0].origin = Some("a".into());
        assert_eq!(staged.told(), [named("a", &["b"])]);
    }

    #[test]
    fn what_was_moved_away_is_not_overwritten_while_its_new_name_waits() {
        let mut staged = Staged::new(&[("a", "my notes"), ("b", "two")], &[])
            .comes(".npmrc", "my notes")
            .comes("a", "short");
        staged.changes[0].origin = Some("a".into());
        staged.changes[1].op = Op::Modify;
        assert_eq!(staged.moves().spread.into_iter().collect::<Vec<_>>(), [named("a", &[".npmrc"])]);
    }

    #[test]
    fn a_new_name_brings_its_old_one_and_the_directories_that_are_left() {
        let staged = Staged::new(&[("old/a", "one"), ("old/d/b", "two"), ("x", "six")], &[])
            .comes("new/a", "one")
            .comes("new/b", "two")
            .goes("x")
            .goes("old/d/b")
            .goes("old/d")
            .goes("old/a")
            .goes("old");
        let moves = staged.moves();
        let all = staged.changes.clone();
        let brought = |picked: &[&str]| -> Vec<String> {
            let picked = all.iter().filter(|c| picked.contains(&&*c.path)).cloned().collect();
            let brought = moves.with_old_names(&all, picked, |new, is_picked| new.iter().any(is_picked));
            brought.into_iter().map(|c| c.path).collect()
        };
        assert_eq!(brought(&["new/a"]), ["new/a", "old/a"]);
        assert_eq!(brought(&["new/b"]), ["new/b", "old/d/b", "old/d"]);
        assert_eq!(brought(&["new/a", "new/b"]), ["new/a", "new/b", "old/d/b", "old/d", "old/a", "old"]);
        assert_eq!(brought(&["x"]), ["x"]);
    }

    #[test]
    fn however_many_files_get_other_names_none_of_them_is_taken_away() {
        let texts: Vec<(String, String)> =
            (0..60).map(|n| (format!("d/{n}.txt"), format!("text {n}"))).collect();
        let files: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (&**name, &**text)).collect();
        let renamed = files.iter().fold(Staged::new(&files, &[]), |staged, (name, text)| {
            staged.comes(&name.replace(".txt", ".md"), text).goes(name)
        });
        let moves = renamed.moves();
        let gone: Vec<&Change> = renamed.changes.iter().filter(|c| c.op == Op::Delete).collect();
        assert_eq!((gone.len(), gone.iter().filter(|change| moves.has(change)).count()), (60, 60));
        // What came back with another content is taken away.
        let (first, rest) = files.split_first().unwrap();
        let staged = Staged::new(&files, &[]).comes("d/0.md", "other").goes(first.0);
        let staged = rest
            .iter()
            .fold(staged, |staged, (name, text)| staged.comes(&name.replace(".txt", ".md"), text).goes(name));
        let moves = staged.moves();
        let taken = staged.changes.iter().filter(|c| c.op == Op::Delete && !moves.has(c));
        assert_eq!(taken.map(|c| &*c.path).collect::<Vec<_>>(), ["d/0.txt"]);
    }

    #[test]
    fn an_old_name_goes_along_with_one_of_its_new_ones_or_with_all() {
        let staged = Staged::new(&[("a", "one"), ("x", "six")], &[])
            .comes("b", "one")
            .comes("c", "one")
            .goes("a")
            .goes("x");
        let (moves, all) = (staged.moves(), &staged.changes);
        let picked = || all.iter().filter(|c| c.path == "b").cloned().collect();
        let any = moves.with_old_names(all, picked(), |new, is_picked| new.iter().any(is_picked));
        let every = moves.with_old_names(all, picked(), |new, is_picked| new.iter().all(is_picked));
        let paths = |changes: Vec<Change>| changes.into_iter().map(|c| c.path).collect::<Vec<_>>();
        assert_eq!((paths(any), paths(every)), (vec!["b".to_owned(), "a".into()], vec!["b".to_owned()]));
    }
}
