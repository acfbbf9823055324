//! What the cell is made of: from what the broker opened, and from what was asked for.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use chaperone_cell::{
    Cache, HOME, Kind, Launched, Limits, Mount, Network, Plan, SetupError, Terminal, default_decoys,
    proxy_environment, trust,
};
use chaperone_protocol::{Opened, PlanMountKind};

use crate::cli::Run;
use crate::report::Report;

pub fn plan(
    opened: &Opened,
    args: &Run,
    installed: Vec<PathBuf>,
    terminal: Terminal,
) -> Result<Plan, Report> {
    let mounts = opened
        .mounts
        .iter()
        .map(|m| Mount {
            at: PathBuf::from(&m.at),
            kind: match &m.kind {
                PlanMountKind::Mediated => Kind::Fuse,
                PlanMountKind::ReadOnly { source } => Kind::ReadOnly { source: source.clone() },
                PlanMountKind::Staged { lower, upper, work, masked } => Kind::Overlay {
                    lower: lower.clone(),
                    upper: upper.clone(),
                    work: work.clone(),
                    masked: masked.clone(),
                },
            },
        })
        .collect();
    let caches = opened
        .caches
        .iter()
        .map(|c| Cache {
            at: Path::new(HOME).join(&c.at),
            lower: c.lower.clone(),
            upper: c.upper.clone(),
            work: c.work.clone(),
        })
        .collect();
    let mut path =
        OsString::from("/run/chaperone/bin:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin");
    for folder in installed.iter().filter(|p| p.is_dir()) {
        path.push(":");
        path.push(folder.join("bin"));
    }
    let mut environment: Vec<(OsString, OsString)> = vec![
        ("PATH".into(), path),
        ("HOME".into(), HOME.into()),
        ("USER".into(), "agent".into()),
        ("LOGNAME".into(), "agent".into()),
        ("SHELL".into(), "/bin/bash".into()),
        ("TMPDIR".into(), "/tmp".into()),
        // The usual place is a decoy, which a shell's own start must not touch.
        ("HISTFILE".into(), "/tmp/.shell_history".into()),
        ("CHAPERONE_SESSION".into(), opened.session.clone().into()),
    ];
    environment.extend(opened.environment.iter().map(|(k, v)| (k.into(), v.into())));
    if opened.authority.is_some() {
        // Of two variables of one name a program takes the first.
        let trust = trust::environment();
        environment.retain(|(name, _)| !trust.iter().any(|(n, _)| n == name));
        environment.extend(trust);
    }
    Ok(Plan {
        session: opened.session.clone(),
        command: command(&args.command)?,
        environment,
        workdir: PathBuf::from(&opened.workdir),
        mounts,
        read_only: installed,
        caches,
        decoys: default_decoys().map_err(Report::new)?,
        limits: Limits {
            memory: opened.memory,
            processes: opened.processes,
            cpu_percent: opened.cpu_percent,
            seconds: opened.seconds,
        },
        network: Network::Captured { loopback: opened.loopback.clone() },
        authority: opened.authority.clone(),
        terminal,
        debug: opened.debug,
        self_exe: std::env::current_exe().map_err(Report::of)?,
    })
}

/// Plan a proxy instead of a capture, and say what that means.
pub fn fall_back(plan: &mut Plan, opened: &Opened, why: &SetupError) -> String {
    plan.network = Network::Proxied;
    let proxy = proxy_environment().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    // Of two variables of one name a program takes the first.
    plan.environment.retain(|(name, _)| !proxy.iter().any(|(n, _)| n == name));
    plan.environment.extend(proxy);
    let fix = why.fix.as_ref().map_or_else(String::new, |fix| format!(". To fix this, run: {fix}"));
    let lost = if opened.loopback.is_empty() {
        String::new()
    } else {
        ", and allowed servers on this machine only if they use the proxy for localhost, too".to_owned()
    };
    format!("{why}; the agent's programs reach the network only if they honour http_proxy{lost}{fix}")
}

/// What the profile requires beyond the required layers.
pub fn required(opened: &Opened, cell: &Launched) -> Result<(), Report> {
    let have = &cell.enforced;
    if let Some(abi) = opened.require_landlock
        && have.landlock < abi
    {
        return Err(Report::new(format!(
            "the profile requires Landlock ABI {abi}; this kernel has {}",
            have.landlock
        )));
    }
    if opened.require_cgroup && have.cgroup == "watched" {
        return Err(Report::new("the profile requires cgroup limits, and no cgroup can be created here")
            .advise("To fix this, run: systemd-run --user --scope -p Delegate=yes chaperone run …"));
    }
    Ok(())
}

/// The command as the cell sees it: a program named by a path is named by its real one.
fn command(command: &[OsString]) -> Result<Vec<OsString>, Report> {
    let mut words = command.to_vec();
    if let Some(first) = words.first_mut()
        && let Some(found) = find(first)
        && !found.starts_with("/usr")
    {
        *first = found.canonicalize().map_err(Report::of)?.into();
    }
    Ok(words)
}

/// What must be shown read-only so that the program can run: nothing for one of the system's, the package's directory
/// for one that a package manager put below the home, else the file itself.
pub fn installation(program: &OsStr) -> Vec<PathBuf> {
    let Some(real) = find(program).and_then(|p| p.canonicalize().ok()) else { return Vec::new() };
    if ["/usr", "/bin", "/sbin", "/lib", "/opt"].iter().any(|s| real.starts_with(s)) {
        return Vec::new();
    }
    // A package of npm's needs those that it depends on: everything in the outermost `node_modules`.
    if let Some(modules) = real.ancestors().filter(|f| f.ends_with("node_modules")).last() {
        return vec![modules.to_owned()];
    }
    // pipx, pyenv, cargo: the nearest directory that is an installation by itself.
    let whole = real.ancestors().skip(1).find(|folder| {
        let marks = ["pyvenv.cfg", "package.json"];
        marks.iter().any(|m| folder.join(m).exists())
            || (folder.join("bin").is_dir() && folder.join("lib").is_dir())
    });
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    match whole {
        Some(folder) if folder != home && folder != Path::new("/") => vec![folder.to_owned()],
        _ => vec![real],
    }
}

/// The program that a name or path stands for, outside.
fn find(program: &OsStr) -> Option<PathBuf> {
    let path = Path::new(program);
    if path.components().count() > 1 {
        return std::path::absolute(path).ok().filter(|p| p.is_file());
    }
    let search = std::env::var_os("PATH")?;
    std::env::split_paths(&search).map(|d| d.join(path)).find(|p| p.is_file())
}
