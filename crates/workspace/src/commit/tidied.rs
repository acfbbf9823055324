//! What git removes when it packs a repository anew: objects and names that it still has elsewhere. Nothing is lost by that, so it is not
//! counted among what a commit takes away.
//!
//! Source: git-gc(1), gitrepository-layout(5).

use std::collections::{HashMap, HashSet};

use chaperone_staging::{Change, Kind, Op};

use super::objects::Objects;

/// Removals of what the repository will have all the same.
#[derive(Debug, Default)]
pub(super) struct Tidied<'a>(HashSet<&'a str>);

impl<'a> Tidied<'a> {
    /// Of what these changes do together.
    pub fn by(changes: &'a [Change], objects: &Objects<'_>) -> Self {
        let mut packed = HashMap::new();
        let gone = changes.iter().filter(|c| c.op == Op::Delete && c.kind == Kind::File).map(|c| &*c.path);
        Self(gone.filter(|path| objects.keeps(path) || keeps_name(&mut packed, path, objects)).collect())
    }

    pub fn has(&self, change: &Change) -> bool {
        change.op == Op::Delete && self.0.contains(change.path.as_str())
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// Names of objects by names of git, of each file of packed ones.
type Packed = HashMap<String, HashMap<String, String>>;

/// Whether a file of one name goes, and the file of packed ones will have that name for the same object.
fn keeps_name(packed: &mut Packed, path: &str, objects: &Objects<'_>) -> bool {
    let Some(at) = path.rfind(".git/").map(|at| at + ".git/".len()) else { return false };
    let Some((git, name)) = path.split_at_checked(at).filter(|(_, name)| name.starts_with("refs/")) else {
        return false;
    };
    let names = packed.entry(git.to_owned()).or_insert_with(|| {
        let text = objects.text_after(&format!("{git}packed-refs")).unwrap_or_default();
        let names = text.lines().filter(|line| !line.starts_with(['#', '^']));
        names.filter_map(|line| line.split_once(' ')).map(|(id, name)| (name.into(), id.into())).collect()
    });
    let Some(id) = names.get(name) else { return false };
    objects.text_before(path).is_some_and(|was| was.trim_end() == id)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::File;

    use super::super::looked::tests::Directory;
    use super::super::objects::tests::changes;
    use super::super::repository::tests::{files, sh};
    use super::*;

    const BEGIN: &str = "git init -q -b main .; for n in $(seq 1 30); do seq $n 40 > f; git add f; git commit -q -m $n; done; \
         git branch side HEAD~3; git tag v1; git tag -m two v2 HEAD~1";

    /// How many removals `script` makes after `before`, and which of them lose something.
    fn losing(before: &str, script: &str) -> (usize, Vec<String>) {
        let directory = Directory::new(&[]);
        let (there, after) = (&directory.mount.source, tempfile::tempdir().unwrap());
        assert!(sh(there, &format!("{BEGIN}\n{before}")), "{before}");
        assert!(sh(there, &format!("cp -a . {0} && cd {0} && {script}", after.path().display())), "{script}");
        let changes = changes(&files(there), after.path());
        let staged = |change: &Change| change.blob.as_ref().and_then(|at| File::open(at).ok());
        let objects = Objects::by(&directory.mount, &changes, &staged);
        let tidied = Tidied::by(&changes, &objects);
        // Directories are no files, whatever the list of files here takes them for.
        let gone = changes.iter().filter(|c| c.op == Op::Delete && !there.join(&c.path).is_dir());
        let gone: Vec<&Change> = gone.collect();
        let losing = gone.iter().filter(|change| !tidied.has(change)).map(|change| change.path.clone());
        (gone.len(), losing.collect())
    }

    #[test]
    fn what_git_packs_anew_loses_nothing() {
        if std::process::Command::new("git").arg("--version").output().is_err() {
            println!("SKIPPED what_git_packs_anew_loses_nothing: no git");
            return;
        }
        for (before, script, least) in [
            ("", "git gc -q", 50),
            (
                "git repack -q -a -d; for n in 5 6; do echo $n > f; git commit -q -a -m $n; git repack -q -d; done",
                "git gc -q",
                6,
            ),
            ("git gc -q", "echo 7 > f; git commit -q -a -m 7; git gc -q", 2),
            ("", "git pack-refs --all; git repack -q -a -d", 50),
        ] {
            let (gone, losing) = losing(before, script);
            assert!(gone >= least, "{script}: {gone}");
            assert_eq!(losing, Vec::<String>::new(), "{script}");
        }
    }

    #[test]
    fn what_goes_for_good_is_counted() {
        if std::process::Command::new("git").arg("--version").output().is_err() {
            println!("SKIPPED what_goes_for_good_is_counted: no git");
            return;
        }
        // Nothing comes in its place.
        let (gone, lost) = losing("", "find .git/objects -type f -delete");
        assert!(gone > 50 && lost.len() == gone, "{gone} {}", lost.len());
        // Packs that are broken, cut or of something else.
        for spoil in [
            "printf x | dd of=$(ls .git/objects/pack/*.pack) bs=1 seek=100 conv=notrunc status=none",
            "truncate -s 200 $(ls .git/objects/pack/*.pack)",
            "rm $(ls .git/objects/pack/*.idx)",
        ] {
            let (gone, lost) = losing("", &format!("git gc -q; chmod -R u+w .git/objects/pack; {spoil}"));
            assert!(gone > 50 && lost.len() > 50, "{spoil}: {gone} {}", lost.len());
        }
        // One object that the new pack leaves out.
        let only = "git update-ref -d refs/heads/side; git tag -d v1 v2 > /dev/null; git reset -q --hard HEAD~1; \
             git reflog expire --expire=now --all; git gc -q --prune=now";
        let (_, lost) = losing("", only);
        assert!(lost.iter().any(|path| path.contains("/objects/")), "{lost:?}");
        assert!(lost.iter().any(|path| path.ends_with("refs/heads/side")), "{lost:?}");
        // A name that packed refs have for another object.
        let (_, lost) = losing("", "git update-ref refs/heads/side HEAD; git pack-refs --all");
        assert_eq!(lost, [".git/refs/heads/side"]);
    }
}
