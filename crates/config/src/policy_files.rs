//! The policy files in force: those that ship, and the user's own.

mod checked;
mod last;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use chaperone_policy::{Engine, Kind, Source, Store};
use chaperone_protocol::Failure;

pub use self::checked::CheckedPolicies;
pub use self::last::{Seal, keep, last};
use crate::dirs::Dirs;

/// Largest policy file read, in bytes. Protects the broker from a mistaken path.
const MAX_POLICY: u64 = 16 * 1024 * 1024;
/// Directories inside each other that are read. Protects the broker from a mistaken path; what lies deeper is an error.
const MAX_DEPTH: usize = 8;

/// The policies that ship, and the user's own.
///
/// # Errors
/// `policy_unreadable`.
pub fn sources(dirs: &Dirs) -> Result<Vec<Source>, Failure> {
    let mut sources = Engine::builtin_sources();
    for path in files_and_folders(dirs)?.0 {
        let kind = match path.extension().and_then(|e| e.to_str()) {
            Some("rego") => Kind::Rego,
            Some("json") => Kind::Json,
            Some("yaml" | "yml") => Kind::Yaml,
            _ => continue,
        };
        let about = std::fs::metadata(&path).map_err(|e| unreadable(e, &path))?;
        if !about.is_file() {
            return Err(unreadable(std::io::Error::other("not a regular file"), &path));
        }
        let size = about.len();
        if size > MAX_POLICY {
            return Err(Failure::new(
                "policy_unreadable",
                format!("{}: larger than {MAX_POLICY} bytes", path.display()),
            ));
        }
        let text = std::fs::read_to_string(&path).map_err(|e| unreadable(e, &path))?;
        // Editors put a byte order mark before it, which is no part of the text.
        let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        sources.push(Source { name: path.display().to_string(), text, kind });
    }
    Ok(sources)
}

/// The policies to begin with, and what is wrong with them: those that stand in the configuration; where these cannot be read or do
/// not load, the last that did.
///
/// # Errors
/// `policy_unreadable` where nothing is known of the last; those of keeping them.
pub fn in_force(dirs: &Dirs, seal: Seal<'_>) -> Result<(Store, Vec<String>), Failure> {
    let last = || last(dirs, seal).and_then(|last| Engine::load(last).ok());
    let sources = match sources(dirs) {
        Ok(sources) => sources,
        Err(unreadable) => {
            let last = last().ok_or_else(|| unreadable.clone())?;
            let (policy, _) = Store::new(Engine::builtin_sources());
            policy.replace(last);
            return Ok((policy, vec![unreadable.message]));
        }
    };
    let (policy, problems) = Store::new(sources.clone());
    if problems.is_empty() {
        keep(dirs, seal, &sources)?;
    } else if let Some(last) = last() {
        policy.replace(last);
    }
    Ok((policy, problems.iter().map(ToString::to_string).collect()))
}

/// What is wrong with the user's own policies: the first that does not load, with file and line, and what holds until it does; or
/// the first that is warned of. This compiles them.
#[must_use]
pub fn problem(sources: Vec<Source>) -> Option<String> {
    first_problem(sources).map(|(text, _)| text)
}

/// The same, and whether the set loads all the same.
fn first_problem(sources: Vec<Source>) -> Option<(String, bool)> {
    if sources.len() == Engine::builtin_sources().len() {
        return None;
    }
    let problems = chaperone_policy::check(sources);
    let problem = problems.iter().find(|problem| !problem.warning).or_else(|| problems.first())?;
    let holds = if problem.warning {
        "the policies are in force all the same"
    } else {
        "until it is fixed the last policies that loaded stay in force, also after a restart"
    };
    Some((format!("{problem}; {holds}"), problem.warning))
}

/// The directories that the user's own policies are read from, the first of them always.
///
/// # Errors
/// `policy_unreadable`.
pub fn folders(dirs: &Dirs) -> Result<Vec<PathBuf>, Failure> {
    files_and_folders(dirs).map(|(_, folders)| folders)
}

/// Files and directories, those of each directory by name; hidden ones are an editor's or a version control's.
fn files_and_folders(dirs: &Dirs) -> Result<(Vec<PathBuf>, Vec<PathBuf>), Failure> {
    let (mut files, mut folders) = (Vec::new(), vec![dirs.config.join("policies")]);
    let mut next = 0;
    while let Some(folder) = folders.get(next).cloned() {
        next += 1;
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && next == 1 => break,
            Err(e) => return Err(unreadable(e, &folder)),
        };
        for entry in entries {
            let entry = entry.map_err(|e| unreadable(e, &folder))?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            // A link to a directory is not followed: it may lead in a circle.
            let is_folder = entry.file_type().map_err(|e| unreadable(e, &entry.path()))?.is_dir();
            let depth = entry.path().components().count() - dirs.config.components().count();
            if is_folder && depth > MAX_DEPTH {
                let what = format!("{}: deeper than {MAX_DEPTH} directories", entry.path().display());
                return Err(Failure::new("policy_unreadable", what));
            }
            if is_folder { folders.push(entry.path()) } else { files.push(entry.path()) }
        }
    }
    files.sort();
    Ok((files, folders))
}

/// The first policy that somebody else can change, with what fixes it. The directory itself is the user's alone, so that this is one
/// to which a link leads.
#[must_use]
pub fn changeable_by_others(dirs: &Dirs) -> Option<String> {
    let own = dirs.config.canonicalize().ok()?;
    let files = files_and_folders(dirs).ok()?.0;
    let outside = files.iter().filter_map(|file| file.canonicalize().ok()).filter(|at| !at.starts_with(&own));
    // Who can replace the file in its directory changes it too.
    let mut places = outside.flat_map(|at| [Some(at.clone()), at.parent().map(Path::to_owned)]).flatten();
    let found = places.find(|at| std::fs::metadata(at).is_ok_and(|about| others_write(&about)))?;
    let found = found.display();
    Some(format!(
        "a policy is read from {found}, which others can change; copy it to {}, or run: chmod go-w '{found}'",
        dirs.config.join("policies").display()
    ))
}

/// Whether somebody else than the user and root may write it. A group of the user's own name is the user.
fn others_write(about: &std::fs::Metadata) -> bool {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let is_sticky = about.is_dir() && about.mode() & 0o1000 != 0;
    let by_group = about.mode() & 0o020 != 0 && about.gid() != gid && about.gid() != 0;
    ![uid, 0].contains(&about.uid()) || (!is_sticky && (by_group || about.mode() & 0o002 != 0))
}

fn unreadable(e: std::io::Error, path: &Path) -> Failure {
    Failure::new("policy_unreadable", format!("{}: {e}", path.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn policies_are_found_in_directories_below_and_without_their_byte_order_marks() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("config/policies");
        fs::create_dir_all(folder.join("team/b")).unwrap();
        fs::create_dir_all(folder.join(".git")).unwrap();
        for (name, text) in [
            ("z.rego", "package z"),
            ("team/a.rego", "\u{feff}package a"),
            ("team/b/data.json", "{}"),
            ("team/readme.txt", "none"),
            (".git/x.rego", "no policy"),
            ("team/.a.rego.swp", "no policy"),
        ] {
            fs::write(folder.join(name), text).unwrap();
        }
        std::os::unix::fs::symlink(&folder, folder.join("team/circle")).unwrap();
        let place = |name: &str| home.path().join(name);
        let dirs = Dirs { config: place("config"), state: place("state"), run: place("run") };
        let own: Vec<(String, String)> = sources(&dirs)
            .unwrap()
            .into_iter()
            .skip(Engine::builtin_sources().len())
            .map(|s| (s.name.strip_prefix(folder.to_str().unwrap()).unwrap().to_owned(), s.text))
            .collect();
        let wanted = [("/team/a.rego", "package a"), ("/team/b/data.json", "{}"), ("/z.rego", "package z")];
        assert_eq!(own, wanted.map(|(name, text)| (name.to_owned(), text.to_owned())));
        assert_eq!(folders(&dirs).unwrap().len(), 3);
    }

    /// The file of a link may lie where an agent works.
    #[test]
    fn the_last_policies_hold_where_a_file_is_gone_and_others_come_into_force_by_themselves() {
        let home = tempfile::tempdir().unwrap();
        let place = |name: &str| home.path().join(name);
        let dirs = Dirs { config: place("config"), state: place("state"), run: place("run") };
        dirs.prepare().unwrap();
        let (seal, policies) = (|_: &[u8]| Ok([7; 32]), dirs.config.join("policies"));
        let mine = "package mine\nimport rego.v1\nx := 1\n";
        fs::write(place("mine.rego"), mine).unwrap();
        std::os::unix::fs::symlink(place("mine.rego"), policies.join("mine.rego")).unwrap();
        let (first, problems) = in_force(&dirs, &seal).unwrap();
        assert!(problems.is_empty(), "{problems:?}");
        let known = first.current().revision().to_owned();
        fs::remove_file(place("mine.rego")).unwrap();
        let (after, problems) = in_force(&dirs, &seal).unwrap();
        assert_eq!((after.current().revision(), problems.len()), (known.as_str(), 1));
        let checked = CheckedPolicies::default();
        assert!(matches!(checked.look(&dirs, &known), (Some(_), false)));

        fs::rename(&policies, place("away")).unwrap();
        fs::create_dir(&policies).unwrap();
        fs::write(policies.join("new.rego"), mine.replace("mine", "new")).unwrap();
        assert!(checked.look(&dirs, &known).1);
        let (new, _) = in_force(&dirs, &seal).unwrap();
        assert!(!checked.look(&dirs, new.current().revision()).1);
        fs::write(policies.join("broken.rego"), "package").unwrap();
        assert!(!checked.look(&dirs, new.current().revision()).1);
    }

    #[test]
    fn a_policy_that_others_can_change_is_warned_of() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let place = |name: &str| home.path().join(name);
        let dirs = Dirs { config: place("config"), state: place("state"), run: place("run") };
        dirs.prepare().unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let policies = dirs.config.join("policies");
        assert_eq!(policies.metadata().unwrap().mode() & 0o777, 0o700);
        // Nobody else gets at what lies in the directory.
        fs::write(policies.join("own.rego"), "package own").unwrap();
        mode(&policies.join("own.rego"), 0o666);
        assert_eq!(changeable_by_others(&dirs), None);

        fs::create_dir(place("shared")).unwrap();
        mode(&place("shared"), 0o755);
        let shared = place("shared/team.rego");
        fs::write(&shared, "package team").unwrap();
        mode(&shared, 0o644);
        std::os::unix::fs::symlink(&shared, policies.join("team.rego")).unwrap();
        assert_eq!(changeable_by_others(&dirs), None);
        mode(&shared, 0o646);
        let warned = changeable_by_others(&dirs).unwrap();
        assert!(warned.contains("team.rego") && warned.contains("chmod go-w"), "{warned}");
        mode(&shared, 0o644);
        mode(&place("shared"), 0o757);
        assert!(changeable_by_others(&dirs).is_some(), "the file can be replaced");
    }
}
