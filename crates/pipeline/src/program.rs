//! Which program asks: read from /proc for the user's eyes. The agent writes its own arguments, so nothing
//! is decided on them.

use chaperone_protocol::{for_display, name_as_text};

/// Most arguments and parents shown.
const SHOWN_ARGUMENTS: usize = 12;
const SHOWN_PARENTS: usize = 4;
/// Longest argument shown, in characters.
const ARGUMENT: usize = 120;
/// Most bytes read of one process's arguments.
const READ: u64 = 16 * 1024;

#[derive(Debug, Default)]
pub struct Program {
    pub arguments: Vec<String>,
    /// Nearest parent first, ending before the cell's PID 1.
    pub parents: Vec<String>,
}

impl Program {
    /// Describe the process that a cell knows as `pid`; empty when it is gone.
    #[must_use]
    pub fn of(pid: u32, init: Option<u32>) -> Self {
        init.and_then(|init| outside(pid, init)).map_or_else(Self::default, |pid| Self::seen(pid, init))
    }

    fn seen(pid: u32, init: Option<u32>) -> Self {
        let mut parents = Vec::new();
        let mut next = parent(pid);
        while let Some(p) = next
            && p > 1
            && Some(p) != init
            && parents.len() < SHOWN_PARENTS
            && !(init.is_some() && is_first_of_its_own(p))
        {
            parents.push(arguments(p).join(" "));
            next = parent(p);
        }
        Self { arguments: arguments(pid), parents }
    }
}

/// The number here of the process that the namespace of `init` knows as `pid` (`NSpid` of proc(5)). A container's processes are in one
/// of their own below it.
#[must_use]
fn outside(pid: u32, init: u32) -> Option<u32> {
    if pid == 1 {
        return Some(init);
    }
    let depth = numbers(init)?.len();
    std::fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let number: u32 = entry.file_name().to_str()?.parse().ok()?;
        let is_asked_for = numbers(number)?.get(depth.checked_sub(1)?) == Some(&pid);
        (is_asked_for && descends(number, init)).then_some(number)
    })
}

/// What a process is numbered in each PID namespace that it is in, the outermost first.
fn numbers(pid: u32) -> Option<Vec<u32>> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let numbers = status.lines().find_map(|l| l.strip_prefix("NSpid:"))?.split_whitespace();
    Some(numbers.map(|n| n.parse().unwrap_or(0)).collect())
}

/// Whether a process is PID 1 where it is: cell-init, which in a container is not the cell's outermost process.
fn is_first_of_its_own(pid: u32) -> bool {
    numbers(pid).is_some_and(|numbers| numbers.last() == Some(&1))
}

fn descends(pid: u32, init: u32) -> bool {
    let mut at = Some(pid);
    while let Some(p) = at.filter(|p| *p > 1) {
        if p == init {
            return true;
        }
        at = parent(p);
    }
    false
}

fn arguments(pid: u32) -> Vec<String> {
    use std::io::Read;
    let mut raw = Vec::new();
    if let Ok(file) = std::fs::File::open(format!("/proc/{pid}/cmdline")) {
        // A process that ended meanwhile has no arguments to show.
        if file.take(READ).read_to_end(&mut raw).is_err() {
            raw.clear();
        }
    }
    raw.split(|b| *b == 0)
        .filter(|a| !a.is_empty())
        .take(SHOWN_ARGUMENTS)
        .map(|a| for_display(&name_as_text(a), ARGUMENT))
        .collect()
}

fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_program_is_named_with_its_arguments_and_parents() {
        // `cat` answers once it runs, so its arguments are there to be read.
        use std::io::{Read, Write};
        use std::process::Stdio;
        let mut child = std::process::Command::new("cat")
            .arg("-")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let program = Program::seen(child.id(), None);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(program.arguments, ["cat", "-"]);
        assert!(!program.parents.is_empty());
    }

    #[test]
    fn a_program_that_is_gone_is_empty_not_an_error() {
        assert!(Program::of(u32::MAX - 7, None).arguments.is_empty());
    }
}
