//! What the cell is made of: from what the broker opened, and from what was asked for.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use chaperone_cell::{
    Cache, HOME, Kind, Launched, Limits, Mount, Network, Plan, SetupError, Terminal, WORKSPACE,
    can_be_at_its_own_place, default_decoys, proxy_environment, trust,
};
use chaperone_protocol::{Opened, PlanMountKind};
use serde::Deserialize;

use crate::cli::Run;
use crate::report::Report;

// long because: one list of all that a cell is made of.
pub fn plan(
    opened: &Opened,
    args: &Run,
    (terminal, git): (Terminal, super::git::Asked),
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
    let mut path = OsString::from("/run/chaperone/bin");
    for directory in &opened.first {
        path.push(":");
        path.push(directory);
    }
    path.push(":/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin");
    for directory in &opened.path {
        path.push(":");
        path.push(directory);
    }
    let mut environment: Vec<(OsString, OsString)> = vec![
        ("PATH".into(), path),
        ("HOME".into(), HOME.into()),
        ("USER".into(), "agent".into()),
        ("LOGNAME".into(), "agent".into()),
        ("SHELL".into(), "/bin/bash".into()),
        ("TMPDIR".into(), "/tmp".into()),
        // The usual place is below /run, where nothing can be made.
        ("SCREENDIR".into(), "/tmp/.screen".into()),
        // The usual place is a decoy, which a shell's own start must not touch.
        ("HISTFILE".into(), "/tmp/.shell_history".into()),
        ("CHAPERONE_SESSION".into(), opened.session.clone().into()),
    ];
    // Of two variables of one name a program takes the first, a shell the last: the profile's is the only one.
    environment.retain(|(name, _)| name.to_str().is_none_or(|name| !opened.environment.contains_key(name)));
    environment.extend(opened.environment.iter().map(|(k, v)| (k.into(), v.into())));
    if opened.authority.is_some() {
        // Of two variables of one name a program takes the first.
        let trust = trust::environment();
        environment.retain(|(name, _)| !trust.iter().any(|(n, _)| n == name));
        environment.extend(trust);
    } else {
        let trust = trust::machine_environment();
        environment.extend(
            trust
                .into_iter()
                .filter(|(name, _)| name.to_str().is_none_or(|n| !opened.environment.contains_key(n))),
        );
    }
    let workspace = canonical(args.workspace.as_deref());
    let own_place =
        workspace.clone().filter(|own| opened.workdir == WORKSPACE && can_be_at_its_own_place(own));
    let workdir = below(&opened.workdir, workspace.as_deref());
    // What a tool writes with its directory's absolute path in it (a virtual environment, a work tree) holds after the commit, too.
    let workdir = match own_place.as_ref().zip(workdir.strip_prefix(WORKSPACE).ok()) {
        Some((own, rest)) => own.join(rest),
        None => workdir,
    };
    Ok(Plan {
        session: opened.session.clone(),
        program: program(&args.command, opened.program.as_deref()),
        command: command(&args.command, opened.program.as_deref()),
        environment,
        workdir,
        umask: super::options::umask(),
        own_place,
        mounts,
        read_only: opened.shown.iter().map(|s| s.path.clone()).collect(),
        covered: opened.covered.clone(),
        scratch: opened.scratch.clone(),
        caches,
        home_files: home_files(workspace.as_deref(), git)?,
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
        tells: false,
        self_exe: std::env::current_exe().map_err(Report::of)?,
    })
}

/// Where the user stands, when that is in the workspace.
fn below(workdir: &str, workspace: Option<&Path>) -> PathBuf {
    let here = std::env::current_dir().and_then(|here| here.canonicalize()).ok();
    let rest = here.zip(workspace).and_then(|(here, own)| here.strip_prefix(own).ok().map(Path::to_owned));
    rest.filter(|_| workdir == WORKSPACE)
        .map_or_else(|| PathBuf::from(workdir), |rest| Path::new(workdir).join(rest))
}

/// Files that every cell has in the home of the agent.
static OF_EVERY_HOME: LazyLock<HomeFiles> = LazyLock::new(|| chaperone_packs::table("packs/cell/home.toml"));

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HomeFiles {
    file: Vec<HomeFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HomeFile {
    /// Below the home.
    path: String,
    text: String,
}

fn home_files(workspace: Option<&Path>, git: super::git::Asked) -> Result<Vec<(PathBuf, String)>, Report> {
    if workspace.is_none() {
        return Ok(Vec::new());
    }
    let mut files = vec![(PathBuf::from(".gitconfig"), git.settings()?)];
    files.extend(OF_EVERY_HOME.file.iter().map(|file| (PathBuf::from(&file.path), file.text.clone())));
    Ok(files)
}

fn canonical(workspace: Option<&Path>) -> Option<PathBuf> {
    super::options::workspace(workspace).ok().and_then(|own| own.canonicalize().ok())
}

/// Plan a proxy instead of a capture, and say what that means.
pub fn fall_back(plan: &mut Plan, opened: &Opened, why: &SetupError) -> String {
    plan.network = Network::Proxied;
    let proxy = proxy_environment().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    // Of two variables of one name a program takes the first.
    plan.environment.retain(|(name, _)| !proxy.iter().any(|(n, _)| n == name));
    plan.environment.extend(proxy);
    let fix = why.fix.as_ref().map_or_else(String::new, |fix| format!(". To fix this: {fix}"));
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
            .advise("To fix this: systemd-run --user --scope -p Delegate=yes chaperone run …"));
    }
    Ok(())
}

/// What is executed: the broker says where the cell has it.
fn program(command: &[OsString], program: Option<&Path>) -> OsString {
    program.map_or_else(|| command.first().cloned().unwrap_or_default(), Into::into)
}

/// The command as the cell sees it. A program that was called by a link keeps that name, which some go by (`rustup` is `cargo`),
/// in the directory where it really is, from which others find what belongs to them (Python).
fn command(command: &[OsString], program: Option<&Path>) -> Vec<OsString> {
    let mut words = command.to_vec();
    if let (Some(first), Some(program)) = (words.first_mut(), program) {
        let name = Path::new(first.as_os_str()).file_name().unwrap_or(first.as_os_str());
        *first = program.with_file_name(name).into();
    }
    words
}

/// The program that a name or path stands for, outside: absolute, its links as they are.
pub fn find(program: &OsStr) -> Option<PathBuf> {
    let path = Path::new(program);
    if path.components().count() > 1 {
        return std::path::absolute(path).ok().filter(|p| p.is_file());
    }
    let search = std::env::var_os("PATH")?;
    std::env::split_paths(&search).map(|d| d.join(path)).find(|p| p.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_called_as_the_user_called_it_where_it_is() {
        let called = |word: &str, program: &str| {
            let words = [OsString::from(word), "test".into()];
            let program = Some(Path::new(program));
            (super::program(&words, program), command(&words, program).swap_remove(0))
        };
        let rustup = "/home/me/.cargo/bin/rustup";
        for word in ["cargo", "/home/me/.cargo/bin/cargo", "../.cargo/bin/cargo"] {
            assert_eq!(called(word, rustup), (rustup.into(), "/home/me/.cargo/bin/cargo".into()));
        }
        assert_eq!(called("vi", "/usr/bin/vi"), ("/usr/bin/vi".into(), "/usr/bin/vi".into()));
        assert_eq!(program(&["x".into()], None), "x");
    }
}
