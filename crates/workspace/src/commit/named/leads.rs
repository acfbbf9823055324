//! Files that name what is run or taken in with them, in the home and in the directory: what they name of the directory.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};

use chaperone_protocol::native;

use super::names::{Names, meant, script};
use super::user::User;
use crate::directories::plain;
use crate::later::{self, Leads, Search, Subject, Word};
use crate::mount::LiveMount;

/// Files that are read, and their bytes in all.
const MOST_FILES: usize = 1_024;
const MOST_BYTES: usize = 8 << 20;
/// Entries of directories that a pattern is held against, and how deep `**` goes.
const MOST_ENTRIES: usize = 32_768;
const DEPTH: usize = 4;
/// Directories of one file, and of all, from which words may go on.
const MOST_BASES: usize = 64;
/// Of these, those from which more are looked for.
const MOST_CHAINED: usize = 8;
const MOST_SHARED: usize = 256;

/// One file, with the directories that its words may start from.
struct Text {
    leads: &'static Leads,
    words: Vec<Word>,
    froms: BTreeSet<PathBuf>,
    bases: BTreeSet<PathBuf>,
    is_of_home: bool,
    /// Builds and what a package manager reads are meant, too, when it names them.
    is_hook: bool,
}

pub(super) struct Reader<'a> {
    mount: &'a LiveMount,
    user: &'a User,
    seen: HashSet<PathBuf>,
    bytes: usize,
    texts: Vec<Text>,
    real: HashMap<PathBuf, BTreeSet<String>>,
}

impl<'a> Reader<'a> {
    pub fn new(mount: &'a LiveMount, user: &'a User) -> Self {
        let (seen, texts, real) = Default::default();
        Self { mount, user, seen, bytes: 0, texts, real }
    }

    /// What the table has of a home.
    pub fn home(&mut self) {
        let Some(home) = self.user.home.clone() else { return };
        let mut left = MOST_ENTRIES;
        for (pattern, leads) in later::of_home() {
            let parts: Vec<&str> = pattern.trim_start_matches('/').split('/').collect();
            let from = if pattern.starts_with('/') { Path::new("/") } else { &home };
            let mut found = Vec::new();
            expand(from, &parts, DEPTH, &mut left, &mut found);
            // Of any tool's, only what is settings by its name and its size.
            let may_be = |at: &PathBuf| {
                let below = at.strip_prefix(&home).unwrap_or(at).to_string_lossy().into_owned();
                let is_small = || at.metadata().is_ok_and(|m| m.len() <= later::SETTINGS_BYTES as u64);
                later::may_be_settings(&below) && !later::is_passed_over(&below) && is_small()
            };
            for at in found.iter().filter(|at| !leads.is_of_any_tool() || may_be(at)) {
                self.file_of_home(at, leads);
            }
        }
    }

    pub fn file_of_home(&mut self, at: &Path, leads: &'static Leads) {
        let Some(home) = self.user.home.clone() else { return };
        self.read(at, leads, false, &|at| BTreeSet::from([home.clone(), above(at)]));
    }

    /// A file of the directory, by its path there.
    pub fn file(&mut self, path: &str, leads: &'static Leads) {
        let at = self.mount.source.join(&*native(path));
        let top = self.mount.source.clone();
        self.read(&at, leads, false, &|at| {
            at.ancestors().skip(1).take_while(|up| up.starts_with(&top)).map(Path::to_owned).collect()
        });
    }

    /// A hook of git's, wherever it is, and the directories that git may run it in.
    pub fn hook(&mut self, at: &Path, places: &BTreeSet<PathBuf>) {
        let Some(leads) = later::of_hooks() else { return };
        self.read(at, leads, true, &|at| places.iter().cloned().chain([above(at)]).collect());
    }

    fn read(
        &mut self,
        at: &Path,
        leads: &'static Leads,
        is_hook: bool,
        froms: &dyn Fn(&Path) -> BTreeSet<PathBuf>,
    ) {
        let is_of_home = !at.starts_with(&self.mount.source);
        let mut todo = VecDeque::from([at.to_owned()]);
        while let Some(at) = todo.pop_front() {
            let Ok(real) = std::fs::canonicalize(&at) else { continue };
            if self.texts.len() >= MOST_FILES || self.bytes >= MOST_BYTES || !self.seen.insert(real.clone()) {
                continue;
            }
            let Some(text) = script(self.mount, &at) else { continue };
            self.bytes += text.len();
            // Of a file with two names programs go from either.
            let mut froms: BTreeSet<PathBuf> = froms(&at);
            froms.insert(above(&real));
            let words = leads.words(&at.to_string_lossy(), &text);
            for word in words.iter().filter(|word| word.is_taken_in && word.text.contains(['/', '.'])) {
                todo.extend(froms.iter().filter_map(|from| self.meant(from, word)).filter(|at| at.is_file()));
            }
            self.texts.push(Text { leads, words, froms, bases: BTreeSet::new(), is_of_home, is_hook });
        }
    }

    fn meant(&self, from: &Path, word: &Word) -> Option<PathBuf> {
        meant(self.user.home.as_deref(), from, &word.text).map(|at| plain(&at))
    }

    /// What all of them name, and where programs are looked for.
    pub fn name(mut self, names: &mut Names) -> BTreeSet<String> {
        let (mut texts, mut programs) = (std::mem::take(&mut self.texts), BTreeSet::new());
        let mut shared: BTreeMap<bool, BTreeSet<PathBuf>> = BTreeMap::new();
        for text in &mut texts {
            text.bases = self.bases(text, names);
            let shared = shared.entry(text.is_of_home).or_default();
            let room = MOST_SHARED.saturating_sub(shared.len());
            shared.extend(text.bases.iter().take(room).cloned());
        }
        for text in &texts {
            let shared = shared.get(&text.is_of_home);
            for word in &text.words {
                for from in &text.froms {
                    self.one(text, word, (from, false), names, &mut programs);
                }
                if text.is_of_home && is_from_where_one_stands(word) {
                    let top = self.mount.source.clone();
                    self.one(text, word, (&top, false), names, &mut programs);
                }
                // A variable may be of another file.
                let of_others = shared.into_iter().flatten().filter(|_| word.is_rest);
                for from in text.bases.iter().chain(of_others).collect::<BTreeSet<_>>() {
                    self.one(text, word, (from, true), names, &mut programs);
                }
            }
        }
        programs
    }

    /// Directories that a text names and that the directory is in, or that are in it: other words may go on from there, and name
    /// more of them.
    fn bases(&mut self, text: &Text, names: &Names) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        let mut todo: VecDeque<(PathBuf, bool)> =
            text.froms.iter().map(|from| (from.clone(), false)).collect();
        while let Some((from, is_base)) = todo.pop_front() {
            for word in text.words.iter().filter(|word| !is_base || word.is_rest) {
                if !word.text.contains('/') && !from.starts_with(&self.mount.source) {
                    continue;
                }
                let Some(at) = self.meant(&from, word) else { continue };
                if text.froms.contains(&at) || found.contains(&at) {
                    continue;
                }
                if found.len() >= MOST_BASES {
                    return found;
                }
                let is_home = self.user.home.as_ref().is_some_and(|home| home.starts_with(&at));
                let is_above = at.parent().is_some() && !is_home && names.is_below(&at);
                if is_above || !self.places(names, &at).is_empty() && at.is_dir() {
                    if found.len() < MOST_CHAINED {
                        todo.push_back((at.clone(), true));
                    }
                    found.insert(at);
                }
            }
        }
        // What stands for one of several directories may stand for this one.
        if text.words.iter().any(|word| word.is_choice)
            && found.iter().any(|at| self.mount.source.starts_with(at))
        {
            found.insert(self.mount.source.clone());
        }
        found
    }

    fn places(&mut self, names: &Names, at: &Path) -> BTreeSet<String> {
        self.real.entry(at.to_owned()).or_insert_with(|| names.places(at)).clone()
    }

    fn one(
        &mut self,
        text: &Text,
        word: &Word,
        (from, is_base): (&Path, bool),
        names: &mut Names,
        programs: &mut BTreeSet<String>,
    ) {
        let has_slash = word.text.contains('/');
        if !has_slash && !is_base && !from.starts_with(&self.mount.source) {
            return;
        }
        let Some(at) = self.meant(from, word) else { return };
        let class = text.leads.class();
        if let Some((directory, pattern)) = pattern(&at) {
            // Of what is elsewhere a pattern stands for names, not for files; so does one that the directory's own files only look for.
            if is_base && (!has_slash || word.text.starts_with('*')) || !text.is_of_home && !word.is_taken_in
            {
                return;
            }
            // All that lies where the user works is only meant where it is taken in.
            let is_all = !pattern.contains(char::is_alphanumeric) && !word.is_taken_in;
            let is_meant = |place: &String| !place.is_empty() || text.is_of_home && !is_all;
            for place in self.places(names, &directory).into_iter().filter(is_meant) {
                names.pattern(place, &pattern, class);
            }
            return;
        }
        // A word alone, or one behind something that is not known, may mean anything.
        let there = std::fs::metadata(&at).ok();
        if there.is_none() && (!has_slash || is_base || word.is_rest && text.is_of_home) {
            return;
        }
        let is_file = there.as_ref().is_some_and(std::fs::Metadata::is_file);
        for place in self.places(names, &at) {
            if place.split('/').any(|name| name == ".git") {
                continue;
            }
            match word.search.filter(|_| !is_file) {
                Some(_)
                    if !text.is_of_home
                        && later::dependencies(&place, true).is_some()
                        && !is_programs(word) => {}
                Some(Search::Programs) => drop(programs.insert(place)),
                Some(Search::Modules) => names.directory(place, class),
                Some(Search::All) if place.is_empty() => names.whole(class),
                Some(Search::All) => names.directory(place, class),
                None if place.is_empty() || there.is_some() && !is_file => {}
                None if !text.is_of_home && !text.is_hook && is_passed_over(&place, class) => {}
                None => names.file(place, class),
            }
        }
    }
}

fn is_programs(word: &Word) -> bool {
    word.search == Some(Search::Programs)
}

/// Whether a shell looks for programs there wherever it stands: `PATH=node_modules/.bin:$PATH`.
fn is_from_where_one_stands(word: &Word) -> bool {
    let is_relative = word.text.contains('/') && !word.text.starts_with(['/', '~', '$', '%', '{', '<', '@']);
    word.search == Some(Search::Programs) && !word.is_rest && is_relative
}

/// In a checkout a build is code like any other, and what a tool put there is asked about as that.
fn is_passed_over(place: &str, class: &str) -> bool {
    let classes = later::classes(&Subject { path: place, ..Subject::default() });
    let is_text = place.rsplit_once('.').is_some_and(|(_, ending)| ending.eq_ignore_ascii_case("md"));
    // What an agent's settings take in is what it obeys.
    is_text && class != "agent"
        || later::dependencies(place, false).is_some()
        || ["build", "dependencies", "packages"].iter().any(|class| classes.contains(class))
}

/// A path with `*` as the directory before it, and the rest.
fn pattern(at: &Path) -> Option<(PathBuf, String)> {
    let text = at.to_str()?;
    let star = text.find(['*', '?'])?;
    let (up, _) = text.get(..star)?.rsplit_once('/')?;
    let rest = text.get(up.len() + 1..)?;
    Some((PathBuf::from(if up.is_empty() { "/" } else { up }), rest.to_owned()))
}

fn above(at: &Path) -> PathBuf {
    at.parent().unwrap_or(Path::new("/")).to_owned()
}

/// The files that a pattern stands for.
fn expand(from: &Path, parts: &[&str], depth: usize, left: &mut usize, found: &mut Vec<PathBuf>) {
    let Some((part, rest)) = parts.split_first() else {
        if from.is_file() {
            found.push(from.to_owned());
        }
        return;
    };
    if *part == "**" {
        expand(from, rest, depth, left, found);
    } else if !part.contains('*') {
        return expand(&from.join(part), rest, depth, left, found);
    }
    if *part == "**" && depth == 0 {
        return;
    }
    let Ok(entries) = std::fs::read_dir(from) else { return };
    for entry in entries.flatten() {
        let Some(now) = left.checked_sub(1) else { return };
        *left = now;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if *part == "**" {
            if entry.path().is_dir() && !name.starts_with('.') {
                expand(&entry.path(), parts, depth - 1, left, found);
            }
        } else if later::like(part, name) {
            expand(&entry.path(), rest, depth, left, found);
        }
    }
}
