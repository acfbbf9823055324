//! Paths as the user has them on their machine: absolute, in the workspace of a session, through whatever links lead there.

use std::path::Path;

use chaperone_cell::WORKSPACE;
use chaperone_protocol::Request;
use chaperone_protocol::reply::Sessions;

use crate::connect::Broker;
use crate::report::Report;

/// The given paths, with absolute ones in the session's workspace as the agent has them; all others as they are.
pub fn named(session: &str, given: Vec<String>) -> Result<Vec<String>, Report> {
    let is_elsewhere = |path: &String| {
        let path = Path::new(path);
        path.is_absolute() && !path.starts_with(WORKSPACE)
    };
    if !given.iter().any(is_elsewhere) {
        return Ok(given);
    }
    let answer = Broker::reach()?.ask(&Request::Sessions { all: true, staged: false })?;
    let all: Sessions = serde_json::from_value(answer).map_err(Report::of)?;
    let mut meant = all.sessions.into_iter().filter(|listed| listed.id.starts_with(session));
    // That there is no such session, or more than one, is said by what comes next.
    let (Some(listed), None) = (meant.next(), meant.next()) else { return Ok(given) };
    let inside =
        |path: String| inside(&listed.workspace, &path).filter(|_| is_elsewhere(&path)).unwrap_or(path);
    Ok(given.into_iter().map(inside).collect())
}

fn inside(workspace: &Path, path: &str) -> Option<String> {
    let path = Path::new(path);
    // The deepest, so that a link of the workspace to itself leads where it does.
    let is_it = |at: &&Path| at.canonicalize().is_ok_and(|real| real == workspace);
    let top = path.ancestors().find(is_it).unwrap_or(workspace);
    let below = path.strip_prefix(top).ok()?;
    Path::new(WORKSPACE).join(below).into_os_string().into_string().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_the_workspace_is_found_by_any_way_that_leads_there() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        let workspace = real.join("work");
        std::fs::create_dir_all(workspace.join("a")).unwrap();
        std::os::unix::fs::symlink(&workspace, real.join("linked")).unwrap();
        std::os::unix::fs::symlink(".", workspace.join("self")).unwrap();
        let of = |path: &str| inside(&workspace, real.join(path).to_str().unwrap());
        for (path, is) in [
            ("work", Some("/workspace")),
            ("work/", Some("/workspace")),
            ("work/a/x.txt", Some("/workspace/a/x.txt")),
            ("work/gone/x.txt", Some("/workspace/gone/x.txt")),
            ("linked/a/x.txt", Some("/workspace/a/x.txt")),
            ("linked", Some("/workspace")),
            ("work/self/a", Some("/workspace/a")),
            ("work/../work/a", Some("/workspace/a")),
            ("worked/a", None),
            ("", None),
        ] {
            assert_eq!(of(path).as_deref().map(|found| found.trim_end_matches('/')), is, "{path}");
        }
    }
}
