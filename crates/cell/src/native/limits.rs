//! Limits on memory, processes and time: a cgroup where there is one to be had, else a watched sum.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::root::IN_MEMORY;
use crate::backend::Enforced;
use crate::plan::{Limits, SetupError};

const V1: &str = "v1";
const V2: &str = "v2";

/// Remove the groups of a cell that is over; what is no group of a cell is left alone.
pub fn remove_groups(directories: &[PathBuf]) {
    let ours = |f: &&PathBuf| {
        f.starts_with("/sys/fs/cgroup")
            && f.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"chaperone-"))
            && !f.components().any(|c| c == std::path::Component::ParentDir)
    };
    for directory in directories.iter().filter(ours) {
        // The kernel takes a moment to empty a group whose last process was reaped.
        for _ in 0..50 {
            match fs::remove_dir(directory) {
                Err(e) if e.raw_os_error() == Some(libc::EBUSY) => {
                    std::thread::sleep(std::time::Duration::from_millis(2));
                }
                _ => break,
            }
        }
    }
}

/// What cell-init has to watch itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Watch {
    pub memory: Option<u64>,
    pub processes: Option<u64>,
    pub seconds: Option<u64>,
}

/// The groups that a cell was put in; removed with it.
#[derive(Debug, Default)]
pub(crate) struct Group {
    kind: &'static str,
    directories: Vec<PathBuf>,
}

/// Files that take whoever writes into a group each.
#[derive(Debug, Default)]
pub(crate) struct Entrances(Vec<fs::File>);

impl Entrances {
    /// Enter. The caller must have one thread only.
    pub fn enter(self) -> std::io::Result<()> {
        self.0.into_iter().try_for_each(|mut group| group.write_all(b"0"))
    }
}

fn refused(directory: &Path) -> impl FnOnce(std::io::Error) -> SetupError {
    move |e| SetupError::new(format!("put the cell into {}: {e}", directory.display()))
}

impl Group {
    /// Make the groups that this user may make: v2 by delegation, v1 as root; none is no error.
    pub fn make(session: &str, limits: &Limits) -> Self {
        if limits.memory.is_none() && limits.processes.is_none() && limits.cpu_percent.is_none() {
            return Self { kind: "watched", directories: Vec::new() };
        }
        Self::v2(session, limits)
            .or_else(|| Self::v1(session, limits))
            .unwrap_or(Self { kind: "watched", directories: vec![] })
    }

    fn v2(session: &str, limits: &Limits) -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = own.lines().find_map(|l| l.strip_prefix("0::"))?;
        let parent = Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'));
        let controllers = fs::read_to_string(parent.join("cgroup.subtree_control")).ok()?;
        if !controllers.contains("memory") || !controllers.contains("pids") {
            return None;
        }
        let directory = parent.join(format!("chaperone-{session}"));
        fs::create_dir(&directory).ok()?;
        let group = Self { kind: V2, directories: vec![directory.clone()] };
        let mut set = true;
        if let Some(bytes) = limits.memory {
            set &= fs::write(directory.join("memory.max"), bytes.to_string()).is_ok();
            set &= fs::write(directory.join("memory.oom.group"), "1").is_ok();
            // Swap would only hide the limit; not every kernel accounts for it.
            drop(fs::write(directory.join("memory.swap.max"), "0"));
        }
        if let Some(count) = limits.processes {
            set &= fs::write(directory.join("pids.max"), count.to_string()).is_ok();
        }
        if let Some(percent) = limits.cpu_percent {
            set &=
                fs::write(directory.join("cpu.max"), format!("{} 100000", u64::from(percent) * 1000)).is_ok();
        }
        set.then_some(group)
    }

    fn v1(session: &str, limits: &Limits) -> Option<Self> {
        let mut group = Self { kind: V1, directories: Vec::new() };
        let mut make = |controller: &str, settings: &[(&str, String)]| {
            let directory = Path::new("/sys/fs/cgroup").join(controller).join(format!("chaperone-{session}"));
            let made = fs::create_dir(&directory).is_ok();
            if made {
                group.directories.push(directory.clone());
            }
            made && settings.iter().all(|(file, value)| fs::write(directory.join(file), value).is_ok())
        };
        let mut all = true;
        if let Some(bytes) = limits.memory {
            all &= make("memory", &[("memory.limit_in_bytes", bytes.to_string())]);
        }
        if let Some(count) = limits.processes {
            all &= make("pids", &[("pids.max", count.to_string())]);
        }
        if let Some(percent) = limits.cpu_percent {
            all &= make(
                "cpu",
                &[
                    ("cpu.cfs_period_us", "100000".into()),
                    ("cpu.cfs_quota_us", (u64::from(percent) * 1000).to_string()),
                ],
            );
        }
        all.then_some(group)
    }

    /// What the cell's PID 1 enters the groups by, and so all of the cell: of v1, where a thread that moves itself waits for nobody.
    /// Whoever moves another process waits until a grace period has passed, which takes longer than all of a start (`rcu_sync_enter`
    /// in `kernel/cgroup/cgroup.c`).
    pub fn entrances(&self) -> Result<Entrances, SetupError> {
        let open = |directory: &PathBuf| {
            fs::OpenOptions::new().write(true).open(directory.join("tasks")).map_err(refused(directory))
        };
        let directories = self.directories.iter().filter(|_| self.kind == V1);
        Ok(Entrances(directories.map(open).collect::<Result<_, _>>()?))
    }

    /// Whether the cell is put in from outside: into those of v2, where a thread cannot move alone.
    pub fn wants_adding(&self) -> bool {
        self.kind == V2
    }

    /// Put the cell's PID 1, and so all of the cell, into the groups.
    pub fn add(&self, pid: i32) -> Result<(), SetupError> {
        self.directories.iter().try_for_each(|directory| {
            fs::write(directory.join("cgroup.procs"), pid.to_string()).map_err(refused(directory))
        })
    }

    pub fn enforced(&self, landlock: u32) -> Enforced {
        Enforced { landlock, cgroup: self.kind.to_owned(), groups: self.directories.clone(), runtime: None }
    }

    /// Somebody else removes them.
    pub fn leave(mut self) {
        self.directories.clear();
    }

    /// What no group holds must be watched.
    pub fn watch(&self, limits: &Limits) -> Watch {
        let watched = self.directories.is_empty();
        Watch {
            memory: limits.memory.filter(|_| watched),
            processes: limits.processes.filter(|_| watched),
            seconds: limits.seconds,
        }
    }

    pub fn ran_out_of_memory(&self) -> bool {
        self.directories.iter().any(|directory| {
            let count = |file: &str, field: &str| {
                fs::read_to_string(directory.join(file)).is_ok_and(|text| {
                    text.lines().any(|l| {
                        l.strip_prefix(field)
                            .and_then(|n| n.trim().parse::<u64>().ok())
                            .is_some_and(|n| n > 0)
                    })
                })
            };
            count("memory.events", "oom_kill ") || count("memory.oom_control", "oom_kill ")
        })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        remove_groups(&self.directories);
    }
}

/// Since Linux 5.14 the limit on a user's processes counts those of its user namespace alone, which is the cell's.
pub(crate) fn counts_the_cell_alone() -> bool {
    let system = rustix::system::uname();
    let release = system.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(5), Some(14))
}

/// From now on this process and its own get no more processes than so many beside cell-init, which is counted with them.
pub(crate) fn hold_processes(count: u64) -> rustix::io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let most = getrlimit(Resource::Nproc).maximum.map_or(count + 1, |most| most.min(count + 1));
    setrlimit(Resource::Nproc, Rlimit { current: Some(most), maximum: Some(most) })
}

/// Memory and process count of everything in this PID namespace, read from its /proc, with what stands in its directories in
/// memory and in memory files, which is nobody's resident memory.
pub(crate) fn usage() -> (u64, u64) {
    let page = rustix::param::page_size() as u64;
    let (mut bytes, mut count) = (in_directories(), 0);
    let mut counted = BTreeSet::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().filter(|n| n.bytes().all(|b| b.is_ascii_digit())) else { continue };
        if pid == "1" {
            continue;
        }
        let Ok(statm) = fs::read_to_string(format!("/proc/{pid}/statm")) else { continue };
        let mut fields = statm.split_whitespace().skip(1).filter_map(|f| f.parse::<u64>().ok());
        let (resident, shared) = (fields.next().unwrap_or(0), fields.next().unwrap_or(0));
        bytes += resident.saturating_sub(shared) * page;
        bytes += in_memory_files(pid, &mut counted);
        count += 1;
    }
    (bytes + in_shared_segments(), count)
}

/// Bytes in the cell's directories in memory.
fn in_directories() -> u64 {
    IN_MEMORY
        .iter()
        .filter_map(|directory| rustix::fs::statvfs(*directory).ok())
        .map(|disk| disk.f_blocks.saturating_sub(disk.f_bfree).saturating_mul(disk.f_frsize))
        .sum()
}

/// Bytes of the memory files (memfd_create) that a process has open, each counted once.
fn in_memory_files(pid: &str, counted: &mut BTreeSet<(u64, u64)>) -> u64 {
    let mut bytes: u64 = 0;
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
        let is_memory = fs::read_link(entry.path())
            .is_ok_and(|to| to.as_os_str().as_encoded_bytes().starts_with(b"/memfd:"));
        if !is_memory {
            continue;
        }
        let Ok(meta) = fs::metadata(entry.path()) else { continue };
        if counted.insert((meta.dev(), meta.ino())) {
            bytes = bytes.saturating_add(meta.blocks().saturating_mul(512));
        }
    }
    bytes
}

/// Bytes of System V shared memory: the column `rss` of the cell's own table.
fn in_shared_segments() -> u64 {
    let table = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    let mut lines = table.lines();
    let column = lines.next().and_then(|head| head.split_whitespace().position(|name| name == "rss"));
    let Some(column) = column else { return 0 };
    lines.filter_map(|line| line.split_whitespace().nth(column)?.parse::<u64>().ok()).sum()
}
