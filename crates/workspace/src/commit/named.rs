//! What of the directory is something else by another name: files that the user's settings of git name, what links of the user's
//! lead to, what their hooks and start-up files call. A change of it is asked about as what it is there.

mod elsewhere;
mod leads;
mod links;
mod names;
mod settings;
mod user;

use std::collections::BTreeSet;
use std::path::Path;

use chaperone_protocol::native;
use chaperone_staging::{Change, Kind};

use self::names::Names;
use self::settings::Settings;
pub(super) use self::user::User;
use super::link::Links;
use crate::later;
use crate::mount::LiveMount;

/// Where a system has its programs.
const SYSTEM: &[&str] = &["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"];
/// Names from which a directory is evidently one of start-up files.
const DOT_FILES: usize = 3;

#[derive(Debug, Default)]
pub(super) struct Named {
    names: Names,
    /// Directories that the user looks for programs in.
    programs: BTreeSet<String>,
    /// Those of them that tools fill.
    filled: BTreeSet<String>,
    /// It has start-up files of a home, under names without their dots.
    dot_files: bool,
}

impl Named {
    /// By the settings of the repositories that these changes are in, and what the user has elsewhere.
    pub fn by(mount: &LiveMount, user: &User, changes: &[Change]) -> Self {
        let mut names = Names::of(mount);
        let mut above: BTreeSet<&str> = BTreeSet::new();
        for change in changes {
            let mut at = change.path.as_str();
            while let Some((up, _)) = at.rsplit_once('/') {
                if !above.insert(up) {
                    break;
                }
                at = up;
            }
        }
        above.insert("");
        let mut settings = Settings::new(mount, user, &mut names);
        for top in above {
            settings.work_tree(&mount.source.join(&*native(top)));
        }
        // The directory may be a part of a work tree.
        for up in mount.source.ancestors().skip(1) {
            settings.work_tree(up);
        }
        let hooks = settings.hooks_found();
        let mut reader = leads::Reader::new(mount, user);
        hooks.iter().for_each(|(at, places)| reader.hook(at, places));
        elsewhere::of_home(mount, user, &mut reader, &mut names);
        links::within(mount, &Links::default(), user, &mut reader, &mut names);
        let searched = reader.name(&mut names);
        let programs = mount.programs.iter().flat_map(|place| names.places(place)).chain(searched);
        let (programs, filled) = programs.partition(|path| later::dependencies(path, true).is_none());
        elsewhere::of_programs(mount, &mut names);
        let dot_files =
            links::at_top(mount).iter().filter(|name| later::is_dot_file(name)).count() >= DOT_FILES;
        Self { names, programs, filled, dot_files }
    }

    /// The classes of what a path is, or is below, by another name; with `holds` it stands for what is below it.
    pub fn classes(&self, path: &str, holds: bool) -> BTreeSet<&'static str> {
        let mut found = self.names.classes(path, holds);
        if self.dot_files {
            found.extend(later::dot_file_classes(path, holds));
        }
        found
    }

    /// Whether the change brings a program to where the user looks for them.
    pub fn is_program(&self, change: &Change) -> bool {
        let holds = change.kind != Kind::File;
        let up = change.path.rsplit_once('/').map_or("", |(up, _)| up);
        let inside = format!("{}/", change.path);
        let runs = holds || change.mode & 0o111 != 0;
        // What tools put there is asked about as that, unless it comes before a program of the system.
        runs && (self.programs.contains(up) || self.filled.contains(up) && is_of_the_system(&change.path))
            || holds && self.programs.iter().any(|at| *at == change.path || at.starts_with(&inside))
    }
}

/// Whether the system has a program of this name.
fn is_of_the_system(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    SYSTEM.iter().any(|place| Path::new(place).join(&*native(name)).exists())
}

#[cfg(test)]
mod tests;
