//! What cell-init gets in a container. It is executed there and has nothing of the launcher's memory, so that its part of the
//! plan comes in a sealed memory file: nothing of it is in arguments, in the environment or on a disk.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use serde::{Deserialize, Serialize};

use crate::native::Watch;
use crate::plan::{Cache, Decoy, Kind, Limits, Mount, Network, Plan, SetupError, Terminal};

/// The descriptors before those of the decoys that are sockets: the broker's, the launcher's, this file, and the streams.
pub(super) const FIXED: usize = 6;

/// A plan's part in the container, and what goes with it. Paths are texts of any bytes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Handed {
    session: String,
    program: OsString,
    command: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    workdir: OsString,
    umask: u32,
    mounts: Vec<OsString>,
    caches: Vec<OsString>,
    scratch: Vec<OsString>,
    decoys: Vec<Decoy>,
    processes: Option<u64>,
    network: Network,
    terminal: Terminal,
    debug: bool,
    watch: Watch,
    descriptors: Option<u64>,
    /// Places in the plan of the decoys that are sockets, in the order of their descriptors.
    traps: Vec<usize>,
}

/// As cell-init has it.
pub(super) struct Taken {
    pub plan: Plan,
    pub watch: Watch,
    pub descriptors: Option<u64>,
    pub traps: Vec<usize>,
}

impl Handed {
    pub(super) fn of(plan: &Plan, watch: Watch, descriptors: Option<u64>, traps: Vec<usize>) -> Self {
        Self {
            session: plan.session.clone(),
            program: plan.program.clone(),
            command: plan.command.clone(),
            environment: plan.environment.clone(),
            workdir: plan.workdir.clone().into(),
            umask: plan.umask,
            mounts: plan.mounts.iter().map(|mount| mount.at.clone().into()).collect(),
            caches: plan.caches.iter().map(|cache| cache.at.clone().into()).collect(),
            scratch: plan.scratch.iter().map(|at| at.clone().into()).collect(),
            decoys: plan.decoys.clone(),
            processes: plan.limits.processes,
            network: plan.network.clone(),
            terminal: plan.terminal,
            debug: plan.debug,
            watch,
            descriptors,
            traps,
        }
    }

    /// In a memory file that nobody can change any more.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub(super) fn sealed(&self) -> Result<OwnedFd, SetupError> {
        let failed = |e: std::io::Error| SetupError::new(format!("hand the plan to the container: {e}"));
        let file = memfd_create("plan", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
            .map_err(|e| failed(e.into()))?;
        let mut file = File::from(file);
        let text = serde_json::to_vec(self).map_err(|e| failed(e.into()))?;
        file.write_all(&text).and_then(|()| file.rewind()).map_err(failed)?;
        let file = OwnedFd::from(file);
        let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
        fcntl_add_seals(&file, seals).map_err(|e| failed(e.into()))?;
        Ok(file)
    }

    /// What the holder put into the file.
    ///
    /// # Errors
    /// When it is no plan.
    pub(super) fn take(file: OwnedFd) -> Result<Taken, SetupError> {
        let failed = |e: std::io::Error| SetupError::new(format!("take the plan in the container: {e}"));
        let mut text = Vec::new();
        File::from(file).read_to_end(&mut text).map_err(failed)?;
        let handed: Self = serde_json::from_slice(&text).map_err(|e| failed(e.into()))?;
        Ok(handed.taken())
    }

    fn taken(self) -> Taken {
        let none = PathBuf::new;
        let plan = Plan {
            session: self.session,
            program: self.program,
            command: self.command,
            environment: self.environment,
            workdir: self.workdir.into(),
            umask: self.umask,
            // What a place is made of was the holder's matter; here it is a place.
            mounts: self.mounts.into_iter().map(|at| Mount { at: at.into(), kind: Kind::Fuse }).collect(),
            caches: self
                .caches
                .into_iter()
                .map(|at| Cache { at: at.into(), lower: None, upper: none(), work: none() })
                .collect(),
            scratch: self.scratch.into_iter().map(PathBuf::from).collect(),
            decoys: self.decoys,
            limits: Limits { processes: self.processes, ..Limits::default() },
            network: self.network,
            terminal: self.terminal,
            debug: self.debug,
            own_place: None,
            read_only: vec![],
            covered: vec![],
            home_files: vec![],
            authority: None,
            tells: false,
            self_exe: none(),
        };
        Taken { plan, watch: self.watch, descriptors: self.descriptors, traps: self.traps }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn what_is_handed_over_arrives_whole_and_can_be_changed_by_nobody() {
        let odd = OsString::from_vec(b"/data/\xff \n".to_vec());
        let handed = Handed {
            session: "s".into(),
            program: "prog".into(),
            command: vec!["prog".into(), odd.clone()],
            environment: vec![("KEY".into(), odd.clone())],
            workdir: odd.clone(),
            umask: 0o077,
            mounts: vec!["/workspace".into(), odd.clone()],
            caches: vec!["/home/agent/.cache".into()],
            scratch: vec![odd.clone()],
            decoys: vec![],
            processes: Some(7),
            network: Network::Captured { loopback: vec![5432] },
            terminal: Terminal::Pty { rows: 2, columns: 3 },
            debug: true,
            watch: Watch { memory: Some(1), processes: None, seconds: Some(9) },
            descriptors: Some(1024),
            traps: vec![4],
        };
        let file = handed.sealed().unwrap();
        assert!(rustix::io::pwrite(&file, b"x", 0).is_err(), "it can be changed");
        let Taken { plan, watch, descriptors, traps } = Handed::take(file).unwrap();
        assert_eq!((plan.session.as_str(), plan.program.as_os_str()), ("s", "prog".as_ref()));
        assert_eq!(plan.command, ["prog".into(), odd.clone()]);
        assert_eq!(plan.environment, [("KEY".into(), odd.clone())]);
        assert_eq!((plan.workdir.as_os_str(), plan.umask), (odd.as_os_str(), 0o077));
        let places: Vec<_> = plan.mounts.iter().map(|m| m.at.as_os_str()).collect();
        assert_eq!(places, ["/workspace".as_ref(), odd.as_os_str()]);
        assert_eq!(
            plan.caches.iter().map(|c| c.at.as_path()).collect::<Vec<_>>(),
            ["/home/agent/.cache"].map(std::path::Path::new)
        );
        assert_eq!(plan.scratch, [PathBuf::from(&odd)]);
        assert_eq!(plan.network, Network::Captured { loopback: vec![5432] });
        assert_eq!(plan.terminal, Terminal::Pty { rows: 2, columns: 3 });
        assert_eq!((plan.limits.processes, plan.debug), (Some(7), true));
        assert_eq!((watch.memory, watch.seconds), (Some(1), Some(9)));
        assert_eq!((descriptors, traps), (Some(1024), vec![4]));
    }

    #[test]
    fn what_is_no_plan_is_an_error() {
        let file = memfd_create("plan", MemfdFlags::CLOEXEC).unwrap();
        assert!(Handed::take(file).is_err());
    }
}
