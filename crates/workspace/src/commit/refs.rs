//! Names of git that would be taken in place of others: of a tag, a branch and a remote's branch of one name git takes the first.
//!
//! Source: gitrevisions(7).

use std::fs::File;

use chaperone_staging::Op;

use super::own;
use super::repository::Others;
use crate::mount::LiveMount;

/// Bytes of a file of names that are read.
const NAMES_BYTES: usize = 16 << 20;
/// In the order in which git looks for a name.
const KINDS: &[&str] = &["refs/tags/", "refs/heads/", "refs/remotes/"];
/// Digits of an object's name by which it goes.
const OBJECT: std::ops::RangeInclusive<usize> = 4..=64;
const HEADS: &[&str] = &["HEAD", "FETCH_HEAD", "ORIG_HEAD", "MERGE_HEAD"];

/// Whether the file brings a name that the repository did not have, and that stands before one that it has.
pub(super) fn takes_a_name(
    (mount, others): (&LiveMount, &Others),
    path: &str,
    content: &File,
    op: Op,
) -> bool {
    let Some((git, inside)) = apart(path) else { return false };
    let own = |name: &str| others.place(&format!("{git}{name}")).into_owned();
    let packed = || text(mount, &own("packed-refs"));
    let is_there = |name: &str| {
        own::open(mount, &own(name)).is_some()
            || packed().lines().any(|line| line.split(' ').nth(1) == Some(name))
    };
    let hides = |name: &str| {
        let Some(at) = KINDS.iter().position(|kind| name.starts_with(kind)) else { return false };
        let short = name.get(KINDS.get(at).map_or(0, |kind| kind.len())..).unwrap_or_default();
        let behind = KINDS.iter().skip(at + 1).any(|kind| is_there(&format!("{kind}{short}")));
        // The branch that a remote follows goes by the remote's name, and an object by the beginning of its own.
        let is_own = at < 2;
        let is_remote = is_own && is_there(&format!("refs/remotes/{short}/HEAD"));
        let is_object =
            is_own && OBJECT.contains(&short.len()) && short.bytes().all(|b| b.is_ascii_hexdigit());
        behind || is_remote || is_object || HEADS.contains(&short) && !name.starts_with("refs/remotes/")
    };
    if inside.starts_with("refs/") {
        return op != Op::Modify && !is_there(inside) && hides(inside);
    }
    if inside != "packed-refs" {
        return false;
    }
    let (then, now) = (packed(), own::read(content, NAMES_BYTES).unwrap_or_default());
    let known: std::collections::HashSet<&str> =
        then.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    let now = String::from_utf8_lossy(&now);
    let new =
        now.lines().filter(|line| !line.starts_with(['#', '^'])).filter_map(|line| line.split(' ').nth(1));
    new.filter(|name| !known.contains(name) && own::open(mount, &own(name)).is_none()).any(hides)
}

/// The repository of a path, up to and with the `/`, and what is inside.
fn apart(path: &str) -> Option<(&str, &str)> {
    let at = path.rfind(".git/")? + ".git/".len();
    let begin = path
        .get(at..)?
        .find("refs/")
        .filter(|_| !path.get(at..).is_some_and(|rest| rest.starts_with("logs/")));
    let begin = match begin {
        Some(begin) => at + begin,
        None if path.ends_with("/packed-refs") => path.len() - "packed-refs".len(),
        None => return None,
    };
    Some((path.get(..begin)?, path.get(begin..)?))
}

fn text(mount: &LiveMount, path: &str) -> String {
    let bytes = own::open(mount, path).and_then(|file| own::read(&file, NAMES_BYTES)).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use super::super::looked::tests::Directory;
    use super::*;

    #[test]
    fn a_name_that_stands_before_another_is_seen() {
        let directory = Directory::new(&[
            (".git/refs/heads/main", "x"),
            (
                ".git/packed-refs",
                "# pack-refs with: peeled\n12 refs/heads/topic\n34 refs/remotes/origin/main\n56 refs/tags/v1\n",
            ),
        ]);
        let takes = |path: &str, text: &str| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            takes_a_name((&directory.mount, &Others::default()), path, &file, Op::Create)
        };
        for path in ["tags/main", "tags/topic", "heads/origin/main", "tags/HEAD", "heads/HEAD"] {
            assert!(takes(&format!(".git/refs/{path}"), "x"), "{path}");
        }
        for path in
            ["tags/v2", "heads/side", "heads/main", "heads/v1", "remotes/origin/side", "remotes/origin/HEAD"]
        {
            assert!(!takes(&format!(".git/refs/{path}"), "x"), "{path}");
        }
        assert!(takes(".git/packed-refs", "12 refs/heads/topic\n78 refs/tags/topic\n"));
        assert!(!takes(".git/packed-refs", "12 refs/heads/topic\n90 refs/heads/main\n56 refs/tags/v1\n"));
        assert!(!takes(".git/logs/refs/tags/main", "x") && !takes("src/refs/tags/main", "x"));
    }
}
