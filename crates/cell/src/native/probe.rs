//! What this machine can enforce, tried for real in a child process.

use super::init;
use super::launch::{self, switched_off};
use super::limits::Group;
use crate::backend::{Layer, LayerState};
use crate::plan::{Kind, Limits, Mount, Network, Plan, SetupError, Terminal};

/// What shows without trying: the settings and the kernel's own list, a few reads of /proc.
pub(super) fn available() -> Result<(), SetupError> {
    let seccomp = seccomp();
    match (switched_off(), seccomp.state) {
        (Some(error), _) => Err(error),
        (None, LayerState::Missing) => Err(SetupError::new(seccomp.detail)),
        (None, _) => Ok(()),
    }
}

/// Try every layer of the native cell. The caller must have one thread only.
pub(super) fn probe(self_exe: &std::path::Path) -> Vec<Layer> {
    let mut layers = Vec::new();
    let plan = |fuse: bool, network: Network| plan(self_exe, fuse, network);
    let launch = |plan: &Plan| launch::launch(plan, |plan, prepared| init::main(plan, prepared));
    let bare = launch(&plan(false, Network::None));
    let (state, detail, fix) = match &bare {
        Ok(_) => (
            LayerState::Ok,
            "user, mount, pid, net, ipc, uts and cgroup namespaces, and a root of its own".to_owned(),
            None,
        ),
        Err(e) => (LayerState::Missing, e.what.clone(), e.fix.clone()),
    };
    layers.push(Layer { layer: "namespaces", state, required: true, detail, fix });
    if let Ok((cell, _ends)) = bare {
        cell.kill();
        drop(cell.wait());
    }
    layers.push(seccomp());
    let (state, detail, fix) = match launch(&plan(true, Network::None)) {
        Ok((cell, _ends)) => {
            cell.kill();
            drop(cell.wait());
            (LayerState::Ok, "/dev/fuse can be mounted in a cell".to_owned(), None)
        }
        Err(e) => (LayerState::Missing, e.what, e.fix),
    };
    layers.push(Layer { layer: "fuse", state, required: true, detail, fix });
    let way_out = |network: Network| {
        launch(&plan(false, network)).map(|(cell, _ends)| {
            cell.kill();
            drop(cell.wait());
        })
    };
    let (state, detail, fix) = match way_out(Network::Captured { loopback: Vec::new() }) {
        Ok(()) => {
            (LayerState::Ok, "all TCP and DNS of a cell can be redirected to the broker".to_owned(), None)
        }
        Err(e) => match way_out(Network::Proxied) {
            Ok(()) => {
                let detail = format!("proxied, for programs that honour http_proxy and its like: {}", e.what);
                (LayerState::Partial, detail, e.fix)
            }
            Err(_) => (LayerState::Missing, e.what, e.fix),
        },
    };
    layers.push(Layer { layer: "network", state, required: false, detail, fix });
    layers.push(landlock());
    layers.push(cgroup());
    layers
}

/// A cell that is made and ended at once.
pub(crate) fn plan(self_exe: &std::path::Path, fuse: bool, network: Network) -> Plan {
    Plan {
        session: format!("probe-{}", std::process::id()),
        program: "true".into(),
        command: vec!["true".into()],
        environment: vec![],
        workdir: "/".into(),
        umask: 0o022,
        own_place: None,
        home_files: Vec::new(),
        mounts: if fuse { vec![Mount { at: "/workspace".into(), kind: Kind::Fuse }] } else { vec![] },
        read_only: vec![],
        covered: vec![],
        scratch: vec![],
        caches: vec![],
        decoys: vec![],
        limits: Limits::default(),
        network,
        authority: None,
        terminal: Terminal::Inherit,
        debug: false,
        tells: false,
        self_exe: self_exe.to_owned(),
    }
}

fn seccomp() -> Layer {
    let actions = std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    let (state, detail) = if actions.contains("user_notif") {
        (LayerState::Ok, "allow-list with recorded refusals")
    } else if actions.contains("errno") {
        (LayerState::Missing, "this kernel cannot report refused calls (needs 5.0)")
    } else {
        (LayerState::Missing, "this kernel has no seccomp filters")
    };
    Layer { layer: "seccomp", state, required: true, detail: detail.to_owned(), fix: None }
}

fn landlock() -> Layer {
    let (state, detail, fix) = match chaperone_sys::landlock::abi() {
        0 => (
            LayerState::Missing,
            "this kernel has no Landlock".to_owned(),
            Some("boot a kernel of 5.13 or later, with lsm=landlock,…".to_owned()),
        ),
        abi @ 1..=5 => (
            LayerState::Partial,
            format!("ABI {abi}: files, but no scopes for signals and abstract sockets (ABI 6)"),
            Some("boot a kernel of 6.12 or later".to_owned()),
        ),
        abi => (LayerState::Ok, format!("ABI {abi}: files, signals and abstract sockets"), None),
    };
    Layer { layer: "landlock", state, required: false, detail, fix }
}

fn cgroup() -> Layer {
    let limits = Limits { memory: Some(1 << 30), processes: Some(64), ..Limits::default() };
    let group = Group::make(&format!("probe-{}", std::process::id()), &limits);
    let kind = group.enforced(0).cgroup;
    let (state, fix) = if kind == "watched" {
        (LayerState::Partial, Some("systemd-run --user --scope -p Delegate=yes chaperone run …".to_owned()))
    } else {
        (LayerState::Ok, None)
    };
    let detail = match kind.as_str() {
        "watched" => "no cgroup can be made: the sum of the cell's processes is watched instead".to_owned(),
        known => format!("cgroup {known} holds memory, processes and CPU"),
    };
    Layer { layer: "cgroup", state, required: false, detail, fix }
}
