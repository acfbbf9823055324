//! Exports: one profile as the settings of other walls. What such a wall cannot do (inspection, staging, questions) stands in
//! each file, and no file is wider than the profile without saying so.

mod apparmor;
mod containers;
mod kubernetes;
mod macos;
mod mxc;
mod quote;
mod seccomp;
mod selinux;
mod systemd;
mod target;
mod wall;
mod windows;

use crate::profile::Profile;
use wall::Wall;

pub use target::{ExportError, File, Options, TARGETS, Target};

/// Write a profile for a target; `name` is what the profile was found by.
///
/// # Errors
/// See [`ExportError`].
pub fn export(
    target: Target,
    name: &str,
    profile: &Profile,
    options: &Options,
) -> Result<Vec<File>, ExportError> {
    let wall = Wall::new(target, name, profile, options)?;
    match target {
        Target::Docker => containers::docker(&wall),
        Target::Podman => containers::podman(&wall),
        Target::Seccomp => seccomp::files(&wall),
        Target::AppArmor => apparmor::files(&wall),
        Target::Selinux => selinux::files(&wall),
        Target::Systemd => systemd::files(&wall),
        Target::Kubernetes => kubernetes::files(&wall),
        Target::Mxc => mxc::files(&wall),
        Target::Macos => macos::files(&wall),
        Target::Windows => windows::files(&wall),
    }
}

#[cfg(test)]
mod tests;
