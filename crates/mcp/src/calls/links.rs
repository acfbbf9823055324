//! Links that stay inside: a path that leads through one is called by the name of what it leads to, and judged by that. What leads
//! out of the workspace is not followed, and refused where it is met.

use chaperone_capability::Action;
use chaperone_fs::ObjectKind;
use rustix::io::Errno;

use super::call::Call;
use crate::tools;

/// Links of one path, as the kernel counts them.
const MOST: usize = 40;

impl Call<'_> {
    /// The path without links, where all of them stay inside; none where one leads out. Reading and listing follow the last name, too.
    ///
    /// # Errors
    /// `ELOOP` for too many.
    pub(super) fn behind_links(&self, action: Action, names: &[&str]) -> Result<Option<String>, Errno> {
        if let Some(path) = self.plain(names) {
            return Ok(Some(path));
        }
        let follows_last = matches!(action, Action::Read | Action::List);
        follow(names, follows_last, |path| self.link(path))
    }

    /// The path of these names, where one look says that no link is among them.
    fn plain(&self, names: &[&str]) -> Option<String> {
        if names.contains(&"..") {
            return None;
        }
        let path = format!("/{}", names.join("/"));
        let (index, below) = self.tools.session.mount_of(&path)?;
        let tree = self.tools.mounts.list().get(index)?.served()?;
        tree.is_plain(below).then_some(path)
    }

    /// The target of a link that the session may see.
    fn link(&self, path: &str) -> Option<String> {
        let (index, below) = self.tools.session.mount_of(path)?;
        let mount = self.tools.mounts.list().get(index)?;
        let tree = mount.served()?;
        let is_link = tree.attributes(below).is_ok_and(|seen| seen.object.kind == ObjectKind::Symlink);
        if !is_link || self.tools.pipeline.is_denied(&self.tools.session, Action::Read, path) {
            return None;
        }
        let target = tree.read_link(below).ok()?;
        Some(self.tools.mounts.named_inside(&target).unwrap_or(target))
    }
}

/// Resolve names below the root; `link` says what a path leads to that is a link.
fn follow(
    names: &[&str],
    follows_last: bool,
    link: impl Fn(&str) -> Option<String>,
) -> Result<Option<String>, Errno> {
    let mut to_do: Vec<String> = names.iter().rev().map(|name| (*name).to_owned()).collect();
    let mut at: Vec<String> = Vec::new();
    let mut followed = 0;
    while let Some(name) = to_do.pop() {
        if name == ".." {
            at.pop();
        } else {
            at.push(name);
        }
        // What is above the workspace is another file system's.
        if at.first().is_none_or(|first| first != "workspace") {
            return Ok(None);
        }
        if to_do.is_empty() && !follows_last {
            break;
        }
        let Some(target) = link(&format!("/{}", at.join("/"))) else { continue };
        followed += 1;
        if followed > MOST {
            return Err(Errno::LOOP);
        }
        if target.starts_with('/') {
            at.clear();
        } else {
            at.pop();
        }
        let Ok(names) = tools::names(&target) else { return Ok(None) };
        if at.is_empty() && names.first() != Some(&"workspace") {
            return Ok(None);
        }
        to_do.extend(names.into_iter().rev().map(str::to_owned));
    }
    Ok(Some(format!("/{}", at.join("/"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn led(path: &str, follows_last: bool) -> Result<Option<String>, Errno> {
        let links = [
            ("/workspace/file", "in/a"),
            ("/workspace/in/up", "../other"),
            ("/workspace/folder", "in"),
            ("/workspace/own", "/workspace/in"),
            ("/workspace/out", "/etc"),
            ("/workspace/away", "../etc"),
            ("/workspace/round", "round"),
            ("/workspace/twice", "folder/up"),
        ];
        let link = |at: &str| links.iter().find(|(from, _)| *from == at).map(|(_, to)| (*to).to_owned());
        follow(&tools::names(path).unwrap(), follows_last, link)
    }

    #[test]
    fn a_path_is_called_by_what_it_leads_to() {
        for (path, real) in [
            ("/workspace", "/workspace"),
            ("/workspace/plain/x", "/workspace/plain/x"),
            ("/workspace/file", "/workspace/in/a"),
            ("/workspace/folder/x", "/workspace/in/x"),
            ("/workspace/folder/../b", "/workspace/b"),
            ("/workspace/folder/up/y", "/workspace/other/y"),
            ("/workspace/twice", "/workspace/other"),
            ("/workspace/own/x", "/workspace/in/x"),
        ] {
            assert_eq!(led(path, true), Ok(Some(real.to_owned())), "{path}");
        }
        assert_eq!(led("/workspace/file", false), Ok(Some("/workspace/file".to_owned())), "the link itself");
        assert_eq!(led("/workspace/folder/up", false), Ok(Some("/workspace/in/up".to_owned())));
    }

    #[test]
    fn what_leads_out_is_not_followed() {
        for path in [
            "/workspace/out/passwd",
            "/workspace/away/passwd",
            "/workspace/../etc",
            "/workspace/folder/../../etc",
            "/etc",
        ] {
            assert_eq!(led(path, true), Ok(None), "{path}");
        }
        assert_eq!(led("/workspace/round/x", true), Err(Errno::LOOP));
    }
}
