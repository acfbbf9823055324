//! The OCI runtimes that are known, and how each is called.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::plan::SetupError;

/// Where runtimes are beside the user's PATH, which need not have the system's own.
const PLACES: &str = "/usr/bin:/usr/sbin:/usr/local/bin:/usr/local/sbin";

/// An OCI runtime of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Runtime {
    kind: Kind,
    pub path: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Crun,
    Runc,
}

/// The one to be preferred first: crun starts a container in a fraction of runc's time.
const KNOWN: &[(Kind, &str)] = &[(Kind::Crun, "crun"), (Kind::Runc, "runc")];

/// The user's word on which of them it is to be, by its name or its path: it is this machine's matter and no profile's.
const CHOSEN: &str = "CHAPERONE_OCI_RUNTIME";

/// The runtime for a container: the one that the user chose, or the first known one that is installed.
///
/// # Errors
/// When there is none of that name, or none at all.
pub(super) fn find() -> Result<Runtime, SetupError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = [OsStr::new(PLACES), path.as_os_str()];
    find_in(
        std::env::var_os(CHOSEN).filter(|name| !name.is_empty()).as_deref(),
        &places,
        rustix::process::geteuid().as_raw(),
    )
}

/// It is none of the user's own files, which an agent's commit may have written: a directory of PATH, or the one that the user names,
/// may be one that agents work in.
fn find_in(chosen: Option<&OsStr>, places: &[&OsStr], user: u32) -> Result<Runtime, SetupError> {
    let at = chosen.map(Path::new).filter(|at| at.is_absolute());
    let name = at.map_or(chosen, Path::file_name);
    let wanted = |(_, known): &&(Kind, &str)| name.is_none_or(|name| name == *known);
    let installed = |(kind, name): &(Kind, &str)| {
        let path = match at {
            Some(at) => is_installed(at, user).then(|| at.to_owned()),
            None => places.iter().find_map(|place| look_for(name, place, user)),
        }?;
        Some(Runtime { kind: *kind, path })
    };
    KNOWN.iter().filter(wanted).find_map(installed).ok_or_else(|| match chosen {
        Some(name) => SetupError::new(format!(
            "{CHOSEN} names {}, which is no OCI runtime that is known and installed",
            name.to_string_lossy().escape_debug()
        ))
        .fix(format!("unset {CHOSEN}")),
        None => {
            SetupError::new("no OCI runtime is installed (crun or runc)").fix("sudo apt-get install crun")
        }
    })
}

fn look_for(name: &str, path: &OsStr, user: u32) -> Option<PathBuf> {
    // A directory that is named from where this process stands is nobody's installation.
    let places = std::env::split_paths(path).filter(|d| d.is_absolute());
    places.map(|d| d.join(name)).find(|at| is_installed(at, user))
}

/// Whether this is a program that somebody else than this user, or root, has put there, and that nobody else writes.
fn is_installed(at: &Path, user: u32) -> bool {
    // Root's own are the machine's; in a user namespace of somebody's they are of an owner who has no number there.
    let is_anothers = |owner: u32| match user {
        0 => owner == 0 || !has_number(owner),
        _ => owner != user,
    };
    fs::metadata(at).is_ok_and(|meta| {
        meta.is_file() && meta.mode() & 0o111 != 0 && is_anothers(meta.uid()) && meta.mode() & 0o022 == 0
    })
}

/// Whether this number is somebody's in this user namespace; otherwise it stands for all who have none there.
fn has_number(uid: u32) -> bool {
    // Without a map to ask nobody is taken for somebody else.
    fs::read_to_string("/proc/self/uid_map").map_or(true, |map| is_in(&map, uid))
}

/// Of `/proc/self/uid_map` (user_namespaces(7)).
fn is_in(map: &str, uid: u32) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().filter_map(|n| n.parse::<u64>().ok());
        let (Some(first), Some(_), Some(count)) = (numbers.next(), numbers.next(), numbers.next()) else {
            return true;
        };
        (first..first.saturating_add(count)).contains(&u64::from(uid))
    })
}

impl Runtime {
    pub(super) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Crun => "crun",
            Kind::Runc => "runc",
        }
    }

    /// The command that starts the bundle's container and leaves it to whoever reaps it: with descriptors from 3 on, so many,
    /// and its process's pid in a file.
    pub(super) fn command(&self, files: &Files<'_>, descriptors: usize) -> Vec<OsString> {
        let mut command: Vec<OsString> = vec![self.name().into(), "--root".into(), files.state.into()];
        command.extend(["--log".into(), files.log.into(), "--log-format".into(), "json".into()]);
        // The cell is in its groups already, and so is whatever is started in it.
        command.push(match self.kind {
            Kind::Crun => "--cgroup-manager=disabled".into(),
            Kind::Runc => "--rootless=true".into(),
        });
        command.extend(["run".into(), "--detach".into(), "--bundle".into(), files.bundle.into()]);
        command.extend(["--pid-file".into(), files.pid.into()]);
        command.extend(["--preserve-fds".into(), descriptors.to_string().into(), "cell".into()]);
        command
    }
}

/// What a runtime reads and writes, all of it in memory that the cell does not see.
#[derive(Debug, Clone, Copy)]
pub(super) struct Files<'a> {
    pub bundle: &'a Path,
    pub state: &'a Path,
    pub log: &'a Path,
    /// What it says where it does not come to logging.
    pub errors: &'a Path,
    pub pid: &'a Path,
}

/// What a runtime said last: of its log, or on its standard error.
pub(super) fn last_words(files: &Files<'_>) -> Option<String> {
    let last = |at: &Path| fs::read_to_string(at).ok()?.lines().last().map(str::to_owned);
    let logged = last(files.log).and_then(|line| {
        let line: serde_json::Value = serde_json::from_str(&line).ok()?;
        line.get("msg")?.as_str().map(str::to_owned)
    });
    let words = logged.or_else(|| last(files.errors))?;
    let words: String = words.chars().filter(|c| !c.is_control()).take(400).collect();
    (!words.is_empty()).then_some(words)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn put(at: &Path, mode: u32) {
        fs::write(at, "").unwrap();
        fs::set_permissions(at, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Somebody who is neither root nor the owner of what a test writes.
    fn another() -> u32 {
        rustix::process::geteuid().as_raw() + 1
    }

    #[test]
    fn a_runtime_is_a_program_that_no_agent_can_have_written() {
        let place = tempfile::tempdir().unwrap();
        let (at, path) = (place.path().join("crun"), place.path().as_os_str());
        for (mode, taken) in [(0o644, false), (0o775, false), (0o757, false), (0o755, true)] {
            put(&at, mode);
            assert_eq!(look_for("crun", path, another()).is_some(), taken, "{mode:o}");
        }
        let own = rustix::process::geteuid().as_raw();
        assert_eq!(look_for("crun", path, own).is_some(), own == 0, "the user's own");
        assert_eq!(look_for("crun", path, 0).is_some(), own == 0, "to root, an ordinary user's");
        assert_eq!(look_for("runc", path, another()), None);
        assert_eq!(look_for("sh", OsStr::new("bin:.:"), another()), None, "from where one stands");
    }

    #[test]
    fn who_has_no_number_in_a_user_namespace_is_told() {
        assert!(is_in("         0          0 4294967295\n", 65534));
        assert!(is_in("0 100000 65536\n", 65534) && !is_in("0 100000 65534\n", 65534));
        assert!(!is_in("         0       1022          1\n", 65534) && is_in("0 1022 1\n1000 5 1\n", 1000));
        assert!(is_in("what is no map\n", 65534));
        assert!(has_number(rustix::process::geteuid().as_raw()));
    }

    #[test]
    fn the_users_word_is_taken_and_nothing_stands_in_for_it() {
        let place = tempfile::tempdir().unwrap();
        let [crun, runc] = ["crun", "runc"].map(|name| place.path().join(name));
        put(&crun, 0o755);
        put(&runc, 0o755);
        let find = |chosen: Option<&OsStr>| find_in(chosen, &[place.path().as_os_str()], another());
        assert_eq!(find(None).unwrap().path, crun);
        assert_eq!(find(Some(runc.as_os_str())).unwrap().path, runc, "by its path");
        put(&runc, 0o777);
        assert!(find(Some(runc.as_os_str())).is_err(), "everybody writes it");
        let own = rustix::process::geteuid().as_raw();
        let named = find_in(Some(crun.as_os_str()), &[], own);
        assert_eq!(named.is_ok(), own == 0, "the user's own, by its path");
        for not_there in ["runc", "no-such", "./crun\n", "/no/such/crun", "/usr/bin/env"] {
            let refused = find(Some(not_there.as_ref())).unwrap_err();
            let shown = format!("{}, which is no OCI runtime", not_there.escape_debug());
            assert!(refused.what.contains(&shown), "{refused}");
        }
    }

    #[test]
    fn what_a_runtime_said_is_one_plain_line() {
        let place = tempfile::tempdir().unwrap();
        let [log, errors] = ["log", "errors"].map(|name| place.path().join(name));
        let nowhere = Path::new("");
        let files = Files { bundle: nowhere, state: nowhere, pid: nowhere, log: &log, errors: &errors };
        assert_eq!(last_words(&files), None);
        fs::write(&errors, "first\ncrun: no such library: \u{1b}[31mlibyajl\n").unwrap();
        assert_eq!(last_words(&files).as_deref(), Some("crun: no such library: [31mlibyajl"));
        let lines = concat!(
            r#"{"level":"warning","msg":"first"}"#,
            "\n",
            r#"{"level":"error","msg":"no \u001b[31mmount\n"}"#,
            "\n"
        );
        fs::write(&log, lines).unwrap();
        assert_eq!(last_words(&files).as_deref(), Some("no [31mmount"));
        fs::write(&log, "panic: not JSON\n").unwrap();
        assert_eq!(last_words(&files).as_deref(), Some("crun: no such library: [31mlibyajl"));
    }
}
