//! The command lines of Docker and Podman: no network, no capability, a read-only root, the profile's directories read-only.

use super::target::{ExportError, File, Target};
use super::wall::{CHANNEL, HOME, Wall};
use super::{quote, seccomp};

/// Where a container may write: in memory, gone with it.
const IN_MEMORY: [&str; 2] = ["/tmp", "/var/tmp"];
const ROOT: &str = "packs/cell/root.toml";

/// Of `packs/cell/root.toml`, what of `/proc` is empty in a cell.
#[derive(serde::Deserialize)]
struct Hidden {
    hidden: Vec<String>,
}

pub(super) fn docker(wall: &Wall<'_>) -> Result<Vec<File>, ExportError> {
    files(wall, &docker_options(wall))
}

pub(super) fn podman(wall: &Wall<'_>) -> Result<Vec<File>, ExportError> {
    files(wall, &podman_options(wall)?)
}

/// What is the engine's own, as words of the shell; the rest is the same.
fn docker_options(wall: &Wall<'_>) -> Vec<String> {
    wall.memory.map(|bytes| format!("--memory-swap {bytes}")).into_iter().collect()
}

fn podman_options(wall: &Wall<'_>) -> Result<Vec<String>, ExportError> {
    let Hidden { hidden } = chaperone_packs::read(ROOT)?;
    let mut options = vec![
        // A cell has no /sys.
        format!("--security-opt mask=/sys:{}", hidden.join(":")),
        "--read-only-tmpfs=false".to_owned(),
        // Volumes that an image brings would be places to write that outlive the container.
        "--image-volume ignore".to_owned(),
        "--no-hosts".to_owned(),
        "$userns".to_owned(),
    ];
    options.extend(wall.memory.map(|bytes| format!("--memory-swap {bytes}")));
    options.extend(wall.seconds.map(|seconds| format!("--timeout {seconds}")));
    Ok(options)
}

fn files(wall: &Wall<'_>, own: &[String]) -> Result<Vec<File>, ExportError> {
    let engine = wall.target.name();
    let filter = seccomp::file(wall)?;
    let mut notes = wall.notes();
    notes.push(format!(
        "Keep {} beside this file. Words after its name run in place of the command.",
        filter.name
    ));
    if wall.options.image.is_none() {
        notes.push(format!("Write the name of your image for {}.", wall.image()));
    }
    if wall.target == Target::Docker {
        notes.push(
            "WIDER than the profile: what of /proc and /sys a cell hides beyond Docker's own list can be read."
                .to_owned(),
        );
        notes.extend(wall.seconds.map(|s| {
            format!("WIDER than the profile: Docker has no limit of time; the profile's is {s} seconds.")
        }));
        notes.push("WIDER than the profile: volumes that the image declares can be written; use an image without one.".to_owned());
    }
    let mut text = format!("#!/bin/sh\n{}", quote::comment("#", &notes));
    text.push_str(&format!(
        "set -eu\ncd \"$(dirname \"$0\")\"\n[ $# -gt 0 ] || set -- {}\n",
        wall.command().into_iter().map(quote::shell).collect::<Vec<_>>().join(" ")
    ));
    // Never root: without capabilities, too, the files of root are its own.
    text.push_str("user=$(id -u):$(id -g)\n[ \"$(id -u)\" != 0 ] || user=65534:65534\n");
    if wall.target == Target::Podman {
        text.push_str("userns=--userns=keep-id\n[ \"$(id -u)\" != 0 ] || userns=--userns=host\n");
    }
    text.push_str("terminal=--interactive\n[ ! -t 0 ] || terminal='--interactive --tty'\n");
    let mut lines = vec![format!("exec {engine} run --rm $terminal")];
    lines.extend(shared(wall, &filter.name));
    lines.extend_from_slice(own);
    lines.push(format!("{} \"$@\"", quote::shell(wall.image())));
    let text = format!("{text}{}\n", lines.join(" \\\n  "));
    Ok(vec![File { name: format!("{}.{engine}.sh", wall.title()), text }, filter])
}

fn shared(wall: &Wall<'_>, filter: &str) -> Vec<String> {
    let mut options = vec![
        "--network none".to_owned(),
        "--cap-drop ALL".to_owned(),
        "--security-opt no-new-privileges".to_owned(),
        format!("--security-opt seccomp={filter}"),
        "--read-only".to_owned(),
        "--user \"$user\"".to_owned(),
        "--ipc private".to_owned(),
        "--hostname agent".to_owned(),
        "--ulimit core=0:0".to_owned(),
        format!("--workdir {}", quote::shell(wall.start())),
    ];
    let size = wall.memory.map(|bytes| format!(",size={bytes}")).unwrap_or_default();
    // Podman would give it the owner and mode that the image has there.
    let own = if wall.target == Target::Podman { ",notmpcopyup" } else { "" };
    options.extend(IN_MEMORY.map(|at| format!("--tmpfs {at}:rw,exec,nosuid,nodev,mode=1777{size}{own}")));
    options.extend(wall.memory.map(|bytes| format!("--memory {bytes}")));
    options.extend(wall.profile.limits.processes.map(|count| format!("--pids-limit {count}")));
    options.extend(wall.cpu_percent.map(|percent| format!("--cpus {}.{:02}", percent / 100, percent % 100)));
    options.push(format!("--env HOME={HOME}"));
    options.extend(wall.environment().into_iter().map(|name| format!("--env {name}")));
    for shown in &wall.shown {
        options.push(bind(&wall.source(shown), &shown.at, ",readonly"));
    }
    options.extend(wall.options.channel.as_deref().map(|channel| bind(channel, CHANNEL, "")));
    options
}

fn bind(source: &str, target: &str, how: &str) -> String {
    let fields = [quote::field(&format!("source={source}")), quote::field(&format!("target={target}"))];
    format!("--mount {}", quote::shell(&format!("type=bind,{}{how}", fields.join(","))))
}
