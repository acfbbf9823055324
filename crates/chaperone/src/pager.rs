//! The user's pager, which shows what does not fit on the screen. It is a program of the user's: neither one of the workspace, which an
//! agent may have written, nor one of wherever the user stands. What it did not read, nobody saw.

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal, Write, stdout};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

use rustix::process::Signal;

use crate::out;
use crate::untrusted::Untrusted;

/// What pages where the user names nothing.
const USUAL: &str = "less -FRX";
/// For a `less` of the user's that has no options of its own: it ends on one screen, shows colours, and leaves them there.
const LESS: &str = "FRX";

/// A pager that runs.
#[derive(Debug)]
pub struct Pager {
    child: Child,
    pipe: ChildStdin,
}

impl Pager {
    /// The user's pager where standard output is a terminal; none where there is none to be used.
    pub fn of_user(workspace: Option<&Path>) -> Option<Self> {
        if !stdout().is_terminal() {
            return None;
        }
        let variable = |name: &str| std::env::var_os(name);
        let line = line(&variable)?;
        let path = clean_path(&variable("PATH").unwrap_or_default(), workspace);
        let Some(words) = command(&line, &path, workspace) else {
            if line != USUAL {
                let shown = Untrusted::new(&line).to_string();
                eprintln!("chaperone: no pager: {shown} is no program outside of the workspace");
            }
            return None;
        };
        match Self::start(&words, &path) {
            Ok(pager) => Some(pager),
            Err(error) => {
                eprintln!("chaperone: no pager: {error}");
                None
            }
        }
    }

    fn start(words: &[OsString], path: &OsStr) -> io::Result<Self> {
        let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command.args(arguments).env("PATH", path).stdin(Stdio::piped());
        if std::env::var_os("LESS").is_none() {
            command.env("LESS", LESS);
        }
        let mut child = command.spawn()?;
        let pipe = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { child, pipe })
    }

    /// While it runs, keys that end a program are for the pager alone.
    pub fn leave_keys_to_it(&self) -> io::Result<()> {
        let keys = [Signal::INT.as_raw(), Signal::QUIT.as_raw()];
        // Nobody reads them: blocked is all that they have to be.
        chaperone_sys::signal_descriptor(&keys).map(drop)
    }

    /// Give it a text; it comes back when the pager has read all of it, and fails where it ended before.
    pub fn deliver(&mut self, text: &str) -> io::Result<()> {
        self.pipe.write_all(text.as_bytes())?;
        out::taken(&self.pipe)
    }

    /// There is no more; how the pager ended.
    pub fn end(self) -> io::Result<ExitStatus> {
        let Self { mut child, pipe } = self;
        drop(pipe);
        child.wait()
    }
}

/// The exit code of a command whose pager a signal ended: how much of it was seen then, nobody knows.
pub fn broken_off(status: ExitStatus) -> Option<i32> {
    status.signal().map(|signal| 128 + signal)
}

/// What the user has for a pager, as they wrote it.
fn line(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<String> {
    let named = variable("CHAPERONE_PAGER").or_else(|| variable("PAGER"));
    let line = named.map_or(Some(USUAL.to_owned()), |line| line.into_string().ok())?;
    let line = line.trim();
    (!line.is_empty() && line != "cat").then(|| line.to_owned())
}

/// The directories where the user's programs are, without those that depend on where the user stands and those of the workspace.
fn clean_path(path: &OsStr, workspace: Option<&Path>) -> OsString {
    let clean = std::env::split_paths(path).filter(|dir| dir.is_absolute() && !is_within(dir, workspace));
    std::env::join_paths(clean).unwrap_or_default()
}

/// The program and its arguments: of a plain list of words by itself, of anything else the system's shell with it.
fn command(line: &str, path: &OsStr, workspace: Option<&Path>) -> Option<Vec<OsString>> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || " \t/._-+:@%,".contains(c);
    if !line.chars().all(is_plain) {
        return Some(["/bin/sh", "-c", line].map(OsString::from).to_vec());
    }
    let mut words = line.split_ascii_whitespace();
    let program = find(words.next()?, path, workspace)?;
    Some(std::iter::once(program.into()).chain(words.map(OsString::from)).collect())
}

fn find(program: &str, path: &OsStr, workspace: Option<&Path>) -> Option<PathBuf> {
    let is_one = |place: &PathBuf| {
        let runs = place.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
        place.is_absolute() && runs && !is_within(place, workspace)
    };
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(is_one);
    }
    std::env::split_paths(path).map(|dir| dir.join(program)).find(is_one)
}

/// Whether it stands in the workspace, as it is called or where its links lead. What cannot be told does.
fn is_within(place: &Path, workspace: Option<&Path>) -> bool {
    let Some(workspace) = workspace else { return false };
    let real = |path: &Path| path.canonicalize();
    let Ok(root) = real(workspace) else { return place.starts_with(workspace) };
    place.starts_with(workspace)
        || place.starts_with(&root)
        // A directory of PATH that is not there holds nothing.
        || real(place).map_or_else(|e| e.kind() != io::ErrorKind::NotFound, |place| place.starts_with(&root))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(at: &Path, text: &str) {
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::fs::write(at, text).unwrap();
        std::fs::set_permissions(at, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_pager_of_the_workspace_is_none() {
        let tmp = tempfile::tempdir().unwrap();
        let place = tmp.path().canonicalize().unwrap();
        let (workspace, own) = (place.join("work"), place.join("own"));
        program(&workspace.join("bin/less"), "#!/bin/sh\n");
        program(&own.join("less"), "#!/bin/sh\n");
        std::os::unix::fs::symlink(workspace.join("bin"), place.join("link")).unwrap();
        std::fs::create_dir(place.join("linked")).unwrap();
        std::os::unix::fs::symlink(workspace.join("bin/less"), place.join("linked/less")).unwrap();
        let text = |path: PathBuf| path.display().to_string();
        let all = [
            "bin".to_owned(),
            String::new(),
            ".".to_owned(),
            text(workspace.join("bin")),
            text(place.join("link")),
            text(place.join("linked")),
            text(own.clone()),
        ]
        .join(":");
        let all = OsStr::new(&all);
        // As whoever takes the first one of PATH finds it.
        let first = std::env::split_paths(all).map(|dir| dir.join("less")).find(|p| p.is_file());
        assert_eq!(first, Some(workspace.join("bin/less")));

        let workspace = Some(&*workspace);
        let clean = clean_path(all, workspace);
        assert_eq!(clean, OsStr::new(&[text(place.join("linked")), text(own.clone())].join(":")));
        let found = command("less -R", &clean, workspace).unwrap();
        assert_eq!(found, [own.join("less").into_os_string(), "-R".into()]);
        for none in ["bin/less", "./less", &text(place.join("work/bin/less")), &text(place.join("link/less"))]
        {
            assert_eq!(command(none, &clean, workspace), None, "{none}");
        }
        // What needs a shell gets the system's, which looks for programs there alone.
        assert_eq!(command("less | cat", &clean, workspace).unwrap(), ["/bin/sh", "-c", "less | cat"]);
    }

    #[test]
    fn the_user_names_the_pager_or_wants_none() {
        let named = |set: &[(&str, &str)]| {
            line(&|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into()))
        };
        assert_eq!(named(&[]).as_deref(), Some(USUAL));
        assert_eq!(named(&[("PAGER", "more")]).as_deref(), Some("more"));
        assert_eq!(named(&[("PAGER", "more"), ("CHAPERONE_PAGER", "less -S")]).as_deref(), Some("less -S"));
        for none in [&[("PAGER", "")][..], &[("PAGER", "cat")], &[("PAGER", "more"), ("CHAPERONE_PAGER", "")]]
        {
            assert_eq!(named(none), None, "{none:?}");
        }
    }

    #[test]
    fn what_a_pager_did_not_read_was_not_delivered() {
        let start = |script: &str| {
            let words = ["/bin/sh", "-c", script].map(OsString::from);
            Pager::start(&words, OsStr::new("/usr/bin:/bin")).unwrap()
        };
        let mut whole = start("exec cat > /dev/null");
        assert!(whole.deliver("one\n").is_ok() && whole.deliver(&"two\n".repeat(100_000)).is_ok());
        assert!(whole.end().unwrap().success());
        // The shell reads one line, byte by byte, and ends.
        let mut early = start("read line");
        assert!(early.deliver("one\n").is_ok());
        assert_eq!(early.deliver("two\n").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(broken_off(early.end().unwrap()), None);
        let mut killed = start("read line; kill -INT $$");
        assert!(killed.deliver("one\n").is_ok());
        assert_eq!(broken_off(killed.end().unwrap()), Some(130));
    }
}
