//! Where a symbolic link leads, once what is staged is in the directory: a link gives another name to what it leads to.

use std::collections::{HashMap, VecDeque};

use chaperone_protocol::name_as_text;
use chaperone_staging::{Change, Kind, Op};
use rustix::fs::OFlags;

use crate::mount::LiveMount;
use crate::overlay;

/// Links that the kernel follows on one way; more lead nowhere.
const MOST_LINKS: usize = 40;

/// The links of the stage by their path. What is staged and is no link stands in the way of one of the user's.
#[derive(Debug, Default)]
pub(super) struct Links(HashMap<String, Option<String>>);

/// Why a link leads to nothing in the mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoEnd {
    ByItself,
    /// A link of the user's that it goes by leads out.
    OnTheWay,
}

impl Links {
    pub fn of<'c>(changes: impl Iterator<Item = &'c Change>) -> Self {
        let mut links = HashMap::new();
        for change in changes {
            let target =
                change.target.clone().filter(|_| change.kind == Kind::Symlink && change.op != Op::Delete);
            // Of a thing that another replaces there are two changes; the link is what will be there.
            let known = links.entry(change.path.clone()).or_insert(None);
            *known = target.or_else(|| known.take());
        }
        Self(links)
    }

    /// The path in the mount that a link at `path` with this text leads to; `None` where it leaves the mount, or leads nowhere.
    /// What it leads to need not be there.
    pub fn end(&self, mount: &LiveMount, path: &str, text: &str) -> Option<String> {
        self.follow(mount, path, text).ok()
    }

    /// The same, with why there is none.
    pub fn follow(&self, mount: &LiveMount, path: &str, text: &str) -> Result<String, NoEnd> {
        let mut at: Vec<String> = path.split('/').map(str::to_owned).collect();
        at.pop();
        let mut ahead = VecDeque::new();
        let mut links = 1;
        enter(mount, &mut at, &mut ahead, text).ok_or(NoEnd::ByItself)?;
        let mut out = NoEnd::ByItself;
        while let Some(name) = ahead.pop_front() {
            match name.as_str() {
                "" | "." => continue,
                ".." => {
                    at.pop().ok_or(out)?;
                    continue;
                }
                _ => at.push(name),
            }
            let link = at.join("/");
            if let Some(text) = self.text(mount, &link) {
                links += 1;
                if links > MOST_LINKS {
                    return Err(NoEnd::ByItself);
                }
                // One of the stage is judged itself.
                if !self.0.contains_key(&link) {
                    out = NoEnd::OnTheWay;
                }
                at.pop();
                enter(mount, &mut at, &mut ahead, &text).ok_or(out)?;
            }
        }
        Ok(at.join("/"))
    }

    /// What a link says, where there is one.
    pub fn text(&self, mount: &LiveMount, path: &str) -> Option<String> {
        if let Some(staged) = self.0.get(path) {
            return staged.clone();
        }
        let link = overlay::open(&mount.root, path, OFlags::PATH | OFlags::NOFOLLOW).ok()?;
        Some(name_as_text(rustix::fs::readlinkat(&link, "", Vec::new()).ok()?.as_bytes()).into_owned())
    }
}

/// Puts the names of a link's text before what is ahead. An absolute one starts at the mount, as the agent sees it or as the user
/// does.
fn enter(mount: &LiveMount, at: &mut Vec<String>, ahead: &mut VecDeque<String>, text: &str) -> Option<()> {
    let text = if text.starts_with('/') {
        at.clear();
        let below =
            |place: &str| text.strip_prefix(place).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        below(&mount.at).or_else(|| below(mount.source.to_str()?))?
    } else {
        text
    };
    text.split('/').rev().for_each(|name| ahead.push_front(name.to_owned()));
    Some(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::looked::tests::Directory;
    use super::*;

    #[test]
    fn a_link_is_followed_through_links_of_the_stage_and_of_the_user() {
        let directory = Directory::new(&[(".git/config", ""), ("docs/a.txt", ""), ("hidden/b", "")]);
        std::os::unix::fs::symlink("../.git", directory.mount.source.join("docs/git")).unwrap();
        let link = |path: &str, target: &str| {
            let mut link = Change::blank(path.to_owned(), Op::Create, Kind::Symlink);
            link.target = Some(target.to_owned());
            link
        };
        let staged = [link("x", ".git"), link("loop", "loop"), link("y/z", "../x/hooks")];
        let links = Links::of(staged.iter());
        let home = directory.mount.source.to_str().unwrap().to_owned();
        for (path, text, end) in [
            ("a", ".git/hooks", ".git/hooks"),
            ("docs/a", "../.git/config", ".git/config"),
            ("docs/b", "../docs/./git/hooks", ".git/hooks"),
            ("b", "x/hooks/pre-commit", ".git/hooks/pre-commit"),
            ("c", "y/z", ".git/hooks"),
            ("d", "/workspace/.git", ".git"),
            ("e", "/workspace", ""),
            ("f", &format!("{home}/x/config"), ".git/config"),
            ("g", "docs/git/../docs/a.txt", "docs/a.txt"),
            ("h", "not/there/yet", "not/there/yet"),
        ] {
            assert_eq!(links.end(&directory.mount, path, text).as_deref(), Some(end), "{path} -> {text}");
        }
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), directory.mount.source.join("shared")).unwrap();
        std::os::unix::fs::symlink("../../..", directory.mount.source.join("docs/up")).unwrap();
        for (path, text) in [("a", "shared"), ("a", "shared/p.txt"), ("d/a", "../shared/x"), ("a", "docs/up")]
        {
            let end = links.follow(&directory.mount, path, text);
            assert_eq!(end, Err(NoEnd::OnTheWay), "{path} -> {text}");
        }
        for (path, text) in
            [("a", ".."), ("a", "/etc/passwd"), ("a", "loop/b"), ("a", "docs/a.txt"), ("a", "x/b")]
        {
            let end = links.follow(&directory.mount, path, text);
            assert_ne!(end, Err(NoEnd::OnTheWay), "{path} -> {text}");
        }
        for (path, text) in
            [("a", ".."), ("d/a", "../../x"), ("a", "/etc/passwd"), ("a", "/workspaces"), ("a", "loop/b")]
        {
            assert_eq!(links.end(&directory.mount, path, text), None, "{path} -> {text}");
        }
    }
}
