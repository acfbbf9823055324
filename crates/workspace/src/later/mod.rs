//! What runs later because of its name or place: which classes of `packs/runs_later.toml` a path is of. What a class means is
//! policy's.

mod assignments;
mod compiled;
mod dependencies;
mod dot_files;
mod git_settings;
mod inert_settings;
mod leads;
mod loads;
mod pack;
mod place;
mod sources;
mod structured;
mod words;

use std::collections::BTreeSet;

use self::assignments::are_assignments;
pub use self::compiled::{Compiled, compiled};
pub use self::dependencies::{
    dependencies, has_install_step, is_loaded_by_itself, is_of_the_system, is_record_of_dependencies,
    kind_by_content, made_dependencies, marks_of_dependencies, nested, package, stands_before,
    takes_a_program,
};
pub use self::dot_files::{
    dot_file_classes, is_dot_file, is_home_of_settings, is_passed_over, is_settings_of_home,
};
pub use self::git_settings::{Named as Setting, hook_lists, named_in_git_settings, named_in_hook_list};
pub use self::inert_settings::{are_plain, differ_harmlessly};
pub use self::leads::{
    Search, Word, may_be_loaded, may_be_settings, of_directory, of_home, of_hooks, of_shells,
};
pub use self::loads::{MOST as LOADS_BYTES, loads, may_load};
pub use self::pack::Leads;
use self::pack::{Class, InertUnless, Lines, PACK};
use self::place::Place;
pub use self::place::like;
pub use self::sources::{MOST as SOURCE_BYTES, new_sources};
pub use self::words::imports;

/// The class of what a version control system runs at its own steps.
pub const HOOKS: &str = "hooks";
/// The class of what is started by its name.
pub const PROGRAMS: &str = "autostart";
/// Bytes of a file of settings that may be inert; a larger one is not.
pub const SETTINGS_BYTES: usize = 64 << 10;

/// What a path is on its way into the directory.
#[derive(Debug, Clone, Copy, Default)]
pub struct Subject<'a> {
    pub path: &'a str,
    /// It stands for what is below it: a link, or a directory that gets this name with all that it holds.
    pub holds: bool,
    /// The whole content of a file of settings, when there is one of at most [`SETTINGS_BYTES`].
    pub content: Option<&'a [u8]>,
}

/// The classes of a path, each once. The inside of a repository of git is left to policy.
#[must_use]
pub fn classes(subject: &Subject<'_>) -> BTreeSet<&'static str> {
    let lower = subject.path.to_lowercase();
    let path: Vec<&str> = lower.split('/').filter(|name| !name.is_empty()).collect();
    let Some((name, above)) = path.split_last() else { return BTreeSet::new() };
    if above.contains(&".git") {
        return BTreeSet::new();
    }
    let is_at = |places: &[Place]| places.iter().any(|place| place.has(&path, subject.holds));
    let own = subject.path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let is_one = |class: &&Class| is_at(&class.places) || class.exact.iter().any(|name| name == own);
    let is_data_of = |class: &&Class| !subject.holds && is_at(&class.but);
    let named = PACK.class.iter().filter(is_one);
    let (data, named): (Vec<&Class>, Vec<&Class>) = named.partition(is_data_of);
    let is_data = !data.is_empty();
    let mut found: BTreeSet<&'static str> = named.into_iter().map(|class| class.class.as_str()).collect();
    if found.is_empty() && !is_data && is_settings(name, above) && !is_at(&PACK.inert.places) {
        let calls = is_code(name) && !subject.content.is_some_and(calls_nothing);
        let harmless =
            |group: &InertUnless| is_at(&group.places) && !calls && is_inert(group, subject.content);
        if !PACK.inert_unless.iter().any(harmless) {
            found.insert("settings");
        }
    }
    found
}

/// Whether another file that is of the class for the same reason has this name: what is of a kind that is there already.
#[must_use]
pub fn is_of_a_kind(class: &str, path: &str, other_name: &str) -> bool {
    let own = path.rsplit('/').next().unwrap_or(path);
    let (lower, other) = (path.to_lowercase(), other_name.to_lowercase());
    let path: Vec<&str> = lower.split('/').filter(|name| !name.is_empty()).collect();
    let classes = || PACK.class.iter().filter(|c| c.class == class);
    let mut places = classes().flat_map(|c| &c.places).filter(|place| place.has(&path, false));
    let is_exact = || classes().any(|c| c.exact.iter().any(|name| name == own && name == other_name));
    places.any(|place| place.has(&[other.as_str()], false)) || is_exact()
}

/// The class of a part of an extension, where the directory `is_there` in which it has its place is one.
#[must_use]
pub fn of_extension(path: &str, is_there: &dyn Fn(&str) -> bool) -> Option<&'static str> {
    let lower = path.to_lowercase();
    let above = std::iter::once(0).chain(path.match_indices('/').map(|(at, _)| at + 1));
    above.filter(|at| path.len() == lower.len() && *at < path.len()).find_map(|at| {
        let (directory, rest) = (path.get(..at)?, lower.get(at..)?);
        let names: Vec<&str> = rest.split('/').collect();
        let is_part = |e: &&pack::Extension| e.places.iter().any(|place| place.has_from_top(&names, false));
        let extension = PACK.extension.iter().filter(is_part);
        let mut marked = extension.filter(|extension| is_there(&format!("{directory}{}", extension.mark)));
        marked.next().map(|extension| extension.class.as_str())
    })
}

/// The directory that a file guards, where it is one that does, in the user's own and not in what a tool fills with others'.
#[must_use]
pub fn guarded(path: &str) -> Option<&str> {
    let lower = path.to_lowercase();
    let names: Vec<&str> = lower.split('/').collect();
    let own = PACK.guards.but.iter().all(|place| !place.has(&names, false));
    let before = PACK.guards.places.iter().find_map(|place| place.before(&names)).filter(|_| own)?;
    let end =
        path.match_indices('/').nth(before.checked_sub(1).unwrap_or(usize::MAX)).map_or(0, |(at, _)| at);
    path.get(..end).filter(|_| dependencies(path, false).is_none())
}

/// The directory that a module comes into.
pub trait Folder {
    /// Whether a file is in the user's directory, or will be.
    fn has(&self, path: &str) -> bool;
    /// Whether the user has this directory.
    fn is_own(&self, folder: &str) -> bool;
    /// Whether a script of the user's in it takes in a module of this name.
    fn takes_in(&self, folder: &str, module: &str) -> bool;
}

/// Whether a module at this path is taken in place of one of the library, of a tool that is run by the name of its module, or of a
/// package.
#[must_use]
pub fn shadows_library(path: &str, at: &dyn Folder) -> bool {
    let stem = path.strip_suffix("/__init__.py").or_else(|| path.strip_suffix(".py")).unwrap_or_default();
    let (folder, module) = stem.rsplit_once('/').unwrap_or(("", stem));
    let package = if folder.is_empty() { "__init__.py".to_owned() } else { format!("{folder}/__init__.py") };
    let is = |known: &[String]| known.iter().any(|known| known == module);
    let library = &PACK.library;
    (is(&library.modules)
        || is(&library.tools) && at.is_own(folder)
        || is(&library.packages) && at.takes_in(folder, module))
        && !at.has(&package)
}

fn is_settings(name: &str, above: &[&str]) -> bool {
    if PACK.settings.plain.iter().any(|known| known == name) {
        return true;
    }
    let ending = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map(|(_, ending)| ending);
    let has_ending = ending.is_some_and(|e| PACK.settings.endings.iter().any(|known| known == e));
    let has_name = || PACK.settings.names.iter().any(|pattern| like(pattern, name));
    let below_a_dot = above.iter().any(|name| name.starts_with('.') && *name != "." && *name != "..");
    if below_a_dot {
        has_ending || has_name()
    } else {
        name.starts_with(['.', '_']) && (has_name() || name.starts_with('.') && has_ending)
    }
}

fn is_code(name: &str) -> bool {
    name.rsplit_once('.')
        .is_some_and(|(_, ending)| matches!(ending, "js" | "cjs" | "mjs" | "ts" | "cts" | "mts"))
}

/// Whether a script has data alone: it calls nothing, makes nothing and sets nothing.
fn calls_nothing(content: &[u8]) -> bool {
    let makes =
        content.windows(4).any(|part| matches!(part, [b'n', b'e', b'w', b' ' | b'\t' | b'\r' | b'\n']));
    !makes && !content.iter().any(|byte| matches!(byte, b'(' | b'`' | b'='))
}

/// Plain text with none of the words, and without an escape that may spell one.
fn is_inert(group: &InertUnless, content: Option<&[u8]>) -> bool {
    let Some(text) = content.and_then(|bytes| std::str::from_utf8(bytes).ok()) else { return false };
    if group.lines == Lines::Assignments && !are_assignments(text) {
        return false;
    }
    // A word may be one at the beginning of a line, or of what a shell takes for another one.
    let text = format!("\n{}", text.to_lowercase().replace('&', "\n"));
    !text.contains(['\\', '\0']) && !group.words.iter().any(|word| text.contains(word.as_str()))
}

#[cfg(test)]
mod tests;
