//! Where Chaperone keeps its files, and the check that nobody else can reach them.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The directories of one installation. All are created 0700 and checked at start.
#[derive(Debug, Clone)]
pub struct Dirs {
    /// `profiles/`, `policies/`, `registered/`, `services.toml`.
    pub config: PathBuf,
    /// `audit/`, `staging/`, `vault/`.
    pub state: PathBuf,
    /// The control socket.
    pub run: PathBuf,
}

/// Bytes of `sun_path`, without the zero at its end.
const LONGEST_SOCKET: usize = 107;

/// Why a directory cannot be trusted.
#[derive(Debug, Error)]
pub enum DirError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "{path} belongs to uid {owner}, not to you; remove it or set CHAPERONE_HOME to a directory of your own"
    )]
    Owner { path: PathBuf, owner: u32 },
    #[error("{path} is open to others (mode {mode:o}); run: chmod 700 '{path}'")]
    Mode { path: PathBuf, mode: u32 },
    #[error(
        "{path} is longer than the {LONGEST_SOCKET} bytes that the path of a socket may have; set XDG_RUNTIME_DIR to a shorter directory of your own"
    )]
    LongSocket { path: PathBuf },
    #[error("{path} is not a directory")]
    NotADirectory { path: PathBuf },
    #[error("neither CHAPERONE_HOME, XDG_STATE_HOME nor HOME is set to an absolute path; set one")]
    NoHome,
}

/// The home of this user in `/etc/passwd`, whatever the environment says.
#[must_use]
pub fn home_of_user() -> Option<PathBuf> {
    let uid = rustix::process::getuid().as_raw().to_string();
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let entry = users.lines().map(|l| l.split(':').collect::<Vec<_>>()).find(|l| l.get(2) == Some(&&*uid))?;
    entry.get(5).map(PathBuf::from)
}

impl Dirs {
    /// Read the environment: `CHAPERONE_HOME` moves everything, else the XDG directories are used.
    ///
    /// # Errors
    /// [`DirError::NoHome`] when no variable names an absolute path.
    pub fn from_environment() -> Result<Self, DirError> {
        Self::from_variables(&|name| std::env::var_os(name), Path::new("/tmp"))
    }

    fn from_variables(
        variable: &dyn Fn(&str) -> Option<OsString>,
        temporary: &Path,
    ) -> Result<Self, DirError> {
        let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|p| p.is_absolute());
        if let Some(home) = absolute("CHAPERONE_HOME") {
            return Ok(Self {
                config: home.join("config"),
                state: home.join("state"),
                run: home.join("run"),
            });
        }
        let home = absolute("HOME");
        let below = |variable: &str, rest: &str| {
            absolute(variable)
                .or_else(|| home.as_ref().map(|h| h.join(rest)))
                .map(|p| p.join("chaperone"))
                .ok_or(DirError::NoHome)
        };
        let state = below("XDG_STATE_HOME", ".local/state")?;
        // `su` and `sudo` may leave another user's.
        let run = absolute("XDG_RUNTIME_DIR")
            .filter(|dir| is_ours(dir))
            .map_or_else(|| run_without_runtime_dir(temporary, &state), |dir| dir.join("chaperone"));
        Ok(Self { config: below("XDG_CONFIG_HOME", ".config")?, state, run })
    }

    /// Create what is missing and check owner and mode of what is there.
    ///
    /// # Errors
    /// The first directory that is not ours alone, or cannot be made.
    pub fn prepare(&self) -> Result<(), DirError> {
        for dir in [
            &self.config,
            &self.config.join("profiles"),
            &self.config.join("policies"),
            &self.state,
            &self.audit(),
            &self.staging(),
            &self.vault(),
            &self.run,
        ] {
            private_dir(dir)?;
        }
        let socket = self.socket();
        if socket.as_os_str().len() > LONGEST_SOCKET {
            return Err(DirError::LongSocket { path: socket });
        }
        Ok(())
    }

    #[must_use]
    pub fn audit(&self) -> PathBuf {
        self.state.join("audit")
    }

    #[must_use]
    pub fn staging(&self) -> PathBuf {
        self.state.join("staging")
    }

    #[must_use]
    pub fn vault(&self) -> PathBuf {
        self.state.join("vault")
    }

    /// The control socket of the broker.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.run.join("broker.sock")
    }
}

/// In `/tmp`, as long as nobody else made the name first: then below the state, where nobody can.
fn run_without_runtime_dir(temporary: &Path, state: &Path) -> PathBuf {
    let usual = temporary.join(format!("chaperone-{}", rustix::process::getuid().as_raw()));
    let uid = rustix::process::geteuid().as_raw();
    match std::fs::symlink_metadata(&usual) {
        Ok(meta) if meta.uid() != uid || !meta.is_dir() => state.join("run"),
        _ => usual,
    }
}

/// Whether it is a directory of this user's. A link counts as what it leads to: whose it is decides.
fn is_ours(path: &Path) -> bool {
    let uid = rustix::process::geteuid().as_raw();
    std::fs::metadata(path).is_ok_and(|meta| meta.is_dir() && meta.uid() == uid)
}

/// Create `path` with mode 0700 when it is missing; refuse one that is a link, another's, or open to others.
///
/// # Errors
/// See [`DirError`].
pub fn private_dir(path: &Path) -> Result<(), DirError> {
    let fail = |source| DirError::Io { path: path.to_owned(), source };
    if let Err(e) = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
        && e.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(fail(e));
    }
    let meta = std::fs::symlink_metadata(path).map_err(fail)?;
    if !meta.is_dir() {
        return Err(DirError::NotADirectory { path: path.to_owned() });
    }
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(DirError::Owner { path: path.to_owned(), owner: meta.uid() });
    }
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(DirError::Mode { path: path.to_owned(), mode });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_open_to_others_is_refused_with_the_line_that_fixes_it() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("state");
        private_dir(&dir).unwrap();
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).unwrap();
        let error = private_dir(&dir).unwrap_err().to_string();
        assert!(error.contains("chmod 700"), "{error}");
    }

    #[test]
    fn the_socket_stands_where_nobody_else_can_make_the_name_first() {
        let tmp = tempfile::tempdir().unwrap();
        let of = |runtime: Option<&Path>| {
            let home = tmp.path().join("home").into_os_string();
            let variable = |name: &str| match name {
                "HOME" => Some(home.clone()),
                "XDG_RUNTIME_DIR" => runtime.map(|dir| dir.as_os_str().to_owned()),
                _ => None,
            };
            Dirs::from_variables(&variable, tmp.path()).unwrap()
        };
        let usual = tmp.path().join(format!("chaperone-{}", rustix::process::getuid().as_raw()));
        assert_eq!(of(None).run, usual);
        assert_eq!(of(Some(tmp.path())).run, tmp.path().join("chaperone"));
        // One that is not there, a file, and another user's.
        let file = tmp.path().join("file");
        std::fs::write(&file, "").unwrap();
        for other in [&tmp.path().join("missing"), &file] {
            assert_eq!(of(Some(other)).run, usual, "{}", other.display());
        }
        let others = if rustix::process::geteuid().is_root() { None } else { Some(Path::new("/etc")) };
        assert_eq!(of(others).run, usual);

        // What somebody else put there, or a link to what is theirs.
        let below_state = tmp.path().join("home/.local/state/chaperone/run");
        std::os::unix::fs::symlink("/etc", &usual).unwrap();
        let dirs = of(None);
        assert_eq!(dirs.run, below_state);
        dirs.prepare().unwrap();
        assert_eq!(dirs.run.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::remove_file(&usual).unwrap();
        std::fs::create_dir(&usual).unwrap();
        if std::os::unix::fs::chown(&usual, Some(1), None).is_ok() {
            assert_eq!(of(None).run, below_state);
            std::os::unix::fs::chown(&usual, Some(0), None).unwrap();
        }
        assert_eq!(of(None).run, usual);
    }

    #[test]
    fn a_socket_whose_path_is_too_long_is_refused_with_what_to_set() {
        let tmp = tempfile::tempdir().unwrap();
        let deep = tmp.path().join("d".repeat(60)).join("e".repeat(60));
        let place = |name: &str| deep.join(name);
        let dirs = Dirs { config: place("config"), state: place("state"), run: place("run") };
        let error = dirs.prepare().unwrap_err().to_string();
        assert!(error.contains("107 bytes") && error.contains("XDG_RUNTIME_DIR"), "{error}");
    }

    #[test]
    fn a_link_in_place_of_the_directory_is_refused() {
        let tmp = tempfile::tempdir().unwrap();
        let link = tmp.path().join("link");
        std::os::unix::fs::symlink("/tmp", &link).unwrap();
        assert!(matches!(private_dir(&link), Err(DirError::NotADirectory { .. })));
    }
}
