//! Data of git's own that makes git show something else than there is: objects that stand in for others, entries of the
//! index that are not compared with the directory, names that are left out.
//!
//! Source: gitformat-index(5), gitrepository-layout(5).

use std::fs::File;
use std::path::Path;

use super::index::{self, Part};
use super::own;

/// Where git has the hooks that it brings, and bytes of one.
const SAMPLES: &[&str] =
    &["/usr/share/git-core/templates/hooks", "/usr/local/share/git-core/templates/hooks"];
const SAMPLE_BYTES: usize = 64 << 10;
const ASSUME_VALID: u16 = 0x8000;
const SKIP_WORKTREE: u16 = 0x4000;
/// What a line of packed refs has that puts one object in the place of another.
const REPLACES: &[u8] = b" refs/replace/";

/// Whether `path` is such data, by its place in a repository.
pub(super) fn may_hide(path: &str) -> bool {
    let Some((_, inside)) = path.rsplit_once(".git/") else { return false };
    let inside = inside.to_ascii_lowercase();
    // Also of a submodule, which has a repository of its own in here.
    let is = |name: &str| {
        inside == name || inside.starts_with("modules/") && inside.ends_with(&format!("/{name}"))
    };
    is("packed-refs") || is("info/exclude") || inside.rsplit('/').next().is_some_and(is_index)
}

/// An index, or the part of one that several share (`core.splitIndex`).
fn is_index(name: &str) -> bool {
    name == "index" || name.starts_with("sharedindex.")
}

/// Where the parts that several indices share are: of this repository, as the path of one begins.
pub(super) fn shared_index(path: &str) -> Option<&str> {
    let (git, name) = path.rsplit_once('/')?;
    (git.ends_with(".git") && name.starts_with("sharedindex.")).then_some(git)
}

/// Whether `path` is the settings of a repository, by its place in one.
pub(super) fn is_settings(path: &str) -> bool {
    path.rsplit_once(".git/").is_some_and(|(_, inside)| inside.rsplit('/').next() == Some("config"))
}

/// Whether git would take a file of this name for settings where it takes the directory for a repository without a work tree.
pub(super) fn may_be_settings(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    matches!(name.as_str(), "config" | "config.worktree")
}

/// Whether a text may have settings of git: each stands in a section.
pub(super) fn has_section(text: &[u8]) -> bool {
    text.contains(&b'[')
}

/// Whether it is a hook that git never runs, as git itself brings it.
pub(super) fn is_sample(path: &str, content: &File) -> bool {
    let Some((_, name)) = path.rsplit_once("/hooks/").filter(|(_, name)| name.ends_with(".sample")) else {
        return false;
    };
    let read = |file: &File| own::read(file, SAMPLE_BYTES).filter(|bytes| bytes.len() < SAMPLE_BYTES);
    let gits = |place: &&str| File::open(Path::new(place).join(name)).ok().and_then(|file| read(&file));
    !name.contains('/')
        && read(content).is_some_and(|now| SAMPLES.iter().filter_map(gits).any(|own| own == now))
}

/// Whether `path` is the list of commits at which history ends, by its place in a repository.
pub(super) fn may_cut(path: &str) -> bool {
    path.rsplit_once(".git/").is_some_and(|(_, inside)| inside.rsplit('/').next() == Some("shallow"))
}

/// Whether what is there now hides more than what was there before. An index that cannot be read does.
pub(super) fn hides_more(path: &str, now: &[u8], then: &[u8]) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    if is_index(&name) {
        let sound = [index::SHA1, index::SHA256].into_iter().find_map(|object| index::is_sound(now, object));
        return sound != Some(true) || unwatched(now).is_none_or(|now| now > unwatched(then).unwrap_or(0));
    }
    if name == "packed-refs" && !is_in_order(now) {
        return true;
    }
    let counts: fn(&&[u8]) -> bool = match name.as_str() {
        "packed-refs" => |line| line.windows(REPLACES.len()).any(|w| w == REPLACES),
        _ => |line| !line.trim_ascii().is_empty() && !line.starts_with(b"#"),
    };
    let known: std::collections::HashSet<&[u8]> = then.split(|b| *b == b'\n').collect();
    now.split(|b| *b == b'\n').filter(counts).any(|line| !known.contains(line))
}

/// Whether names that are said to be in order are: git looks for them as if they were.
fn is_in_order(packed: &[u8]) -> bool {
    let lines = || packed.split(|b| *b == b'\n');
    let is_head = |line: &&[u8]| line.starts_with(b"#");
    let is_sorted =
        lines().take_while(is_head).any(|head| head.split(|b| *b == b' ').any(|word| word == b"sorted"));
    let names = lines().filter(|line| !line.starts_with(b"#") && !line.starts_with(b"^"));
    !is_sorted || names.filter_map(|line| line.splitn(2, |b| *b == b' ').nth(1)).is_sorted()
}

/// How many entries of an index are not compared with the directory; `None` when it is none that is known.
fn unwatched(index: &[u8]) -> Option<u32> {
    [index::SHA1, index::SHA256].into_iter().find_map(|object| {
        let mut count = 0;
        index::walk(index, object, &mut |part| {
            if let Part::Entry(entry) = part {
                let skips = entry.more_flags & SKIP_WORKTREE != 0;
                count += u32::from(entry.flags & ASSUME_VALID != 0 || skips);
            }
        })?;
        Some(count)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;

    fn git(at: &Path, arguments: &[&str]) {
        let run = Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"])
            .args(arguments)
            .current_dir(at)
            .output()
            .unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    }

    #[test]
    fn what_leaves_names_out_is_known_in_every_repository() {
        for path in [
            ".git/info/exclude",
            "a/.git/packed-refs",
            ".git/modules/a/b/info/exclude",
            ".git/modules/a/index",
        ] {
            assert!(may_hide(path), "{path}");
        }
        for path in
            ["info/exclude", ".git/refs/heads/info/exclude", ".git/info/exclude.x", ".git/description"]
        {
            assert!(!may_hide(path), "{path}");
        }
        assert!(!hides_more(".git/modules/a/info/exclude", b"# git ls-files --others\n", b""));
        assert!(hides_more(".git/modules/a/info/exclude", b"x.py\n", b""));
    }

    #[test]
    fn entries_that_git_does_not_look_at_are_counted_in_every_version() {
        if Command::new("git").arg("--version").output().is_err() {
            println!("SKIPPED entries_that_git_does_not_look_at_are_counted_in_every_version: no git");
            return;
        }
        for format in ["sha1", "sha256"] {
            entries_are_counted(format);
        }
        assert!(hides_more(".git/index", b"DIRC", &[]));
    }

    fn entries_are_counted(format: &str) {
        let place = tempfile::tempdir().unwrap();
        git(place.path(), &["init", "-q", &format!("--object-format={format}")]);
        for name in ["a", "some/longer/name.txt", "some/longer/other.txt", "z"] {
            let file = place.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, name).unwrap();
        }
        git(place.path(), &["add", "."]);
        let index = || std::fs::read(place.path().join(".git/index")).unwrap();
        for version in ["2", "3", "4"] {
            git(place.path(), &["update-index", "--index-version", version]);
            let before = index();
            assert_eq!(unwatched(&before), Some(0), "{version}");
            assert!(!hides_more(".git/index", &before, &[]));
            git(place.path(), &["update-index", "--assume-unchanged", "some/longer/name.txt"]);
            git(place.path(), &["update-index", "--skip-worktree", "z"]);
            assert_eq!(unwatched(&index()), Some(2), "{version}");
            assert!(hides_more(".git/index", &index(), &before));
            assert!(!hides_more(".git/index", &before, &index()));
            assert!(!hides_more(".git/index", &index(), &index()));
            git(place.path(), &["update-index", "--no-assume-unchanged", "some/longer/name.txt"]);
            git(place.path(), &["update-index", "--no-skip-worktree", "z"]);
        }
        // An index in two parts, with all that git puts behind the entries.
        git(place.path(), &["-c", "core.untrackedCache=true", "update-index", "--split-index"]);
        let parts = std::fs::read_dir(place.path().join(".git")).unwrap();
        let mut parts = parts.map(|entry| entry.unwrap().path());
        let shared = parts.find(|path| path.to_string_lossy().contains("/sharedindex.")).unwrap();
        let named = format!(".git/{}", shared.file_name().unwrap().to_str().unwrap());
        assert!(may_hide(&named) && shared_index(&named) == Some(".git"));
        assert_eq!(unwatched(&index()), Some(0));
        assert!(!hides_more(&named, &std::fs::read(&shared).unwrap(), &[]));
        assert!(hides_more(&named, b"DIRC", &[]));
    }

    #[test]
    fn hooks_as_git_brings_them_are_known() {
        let folder = tempfile::tempdir().unwrap();
        let is = |path: &str, bytes: &[u8]| {
            std::fs::write(folder.path().join("x"), bytes).unwrap();
            is_sample(path, &File::open(folder.path().join("x")).unwrap())
        };
        assert!(!is("a/.git/hooks/pre-commit.sample", b"#!/bin/sh\nevil\n"));
        let own = std::fs::read(Path::new(SAMPLES[0]).join("pre-commit.sample"));
        let Ok(own) = own else { return println!("SKIPPED: no templates of git") };
        assert!(is("a/.git/hooks/pre-commit.sample", &own) && !is("a/.git/hooks/pre-commit", &own));
    }

    #[test]
    fn settings_stand_in_sections() {
        assert!(may_be_settings("a/config") && may_be_settings("CONFIG.worktree"));
        assert!(!may_be_settings("config.json") && !may_be_settings("config/a"));
        assert!(has_section(b"x\n[core]\n") && !has_section(b"Host a\n  User b\n"));
    }

    #[test]
    fn objects_that_stand_in_for_others_and_names_left_out_are_seen() {
        let plain = b"# pack-refs with: peeled\n0123 refs/heads/main\n";
        let replaced = [&plain[..], b"4567 refs/replace/89ab\n"].concat();
        assert!(hides_more(".git/packed-refs", &replaced, plain));
        assert!(!hides_more(".git/packed-refs", plain, &[]));
        assert!(!hides_more(".git/packed-refs", &replaced, &replaced));
        let said = b"# pack-refs with: peeled fully-peeled sorted \n";
        let line = |name: &str| format!("{} {name}\n", "1".repeat(40)).into_bytes();
        let (first, second) = (line("refs/heads/a"), line("refs/heads/b"));
        let (ordered, turned) =
            ([&said[..], &first, &second].concat(), [&said[..], &second, &first].concat());
        assert!(
            !hides_more(".git/packed-refs", &ordered, b"") && hides_more(".git/packed-refs", &turned, b"")
        );
        assert!(!hides_more(".git/packed-refs", &[second, first].concat(), b""), "nothing says so");
        assert!(hides_more(".git/info/exclude", b"# none\nhelper.py\n", b"# none\n"));
        assert!(!hides_more(".git/info/exclude", b"# none\n# more\n", b"# none\n"));
        for path in [".git/index", "a/.git/packed-refs", ".git/modules/x/INDEX", ".git/info/exclude"] {
            assert!(may_hide(path), "{path}");
        }
        assert!(!may_hide("src/index") && !may_hide(".git/objects/12/34"));
    }
}
