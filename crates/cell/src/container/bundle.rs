//! The bundle of a container: `config.json` of the OCI runtime specification, over the root that the holder built.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::native::{self, BASE, TERMINALS};
use crate::plan::{PROGRAM, SetupError};

/// The command of it that becomes cell-init.
pub(super) const INIT: &str = "__cell-init";

/// Parts of `/proc` that a process could set something of the machine's by.
const READ_ONLY: &[&str] =
    &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", "/proc/asound"];
/// What of `/proc` stays the host's in every namespace, beside what no cell shows.
const MASKED: &[&str] = &["/proc/kcore", "/proc/sys/kernel/random/boot_id"];

/// The bundle's `config.json`, for a cell-init with so many descriptors.
///
/// The container gets no user namespace and no network of its own: it has the holder's, and its process makes the user namespace
/// in which it is the agent's user, for which it has the one capability. It drops it with that, and the agent is started without
/// any.
///
/// # Errors
/// When a pack is not right.
pub(super) fn config(descriptors: usize) -> Result<Value, SetupError> {
    let capabilities = json!(["CAP_SETFCAP"]);
    let fixed = MASKED.iter().map(PathBuf::from);
    let masked: Vec<PathBuf> = native::hidden()?.into_iter().chain(fixed).collect();
    let terminals: Vec<&str> = ["nosuid", "noexec"].into_iter().chain(TERMINALS.split(',')).collect();
    let namespaces = ["pid", "ipc", "uts", "mount", "cgroup"].map(|kind| json!({ "type": kind }));
    Ok(json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": [PROGRAM, INIT, descriptors.to_string()],
            "env": [],
            "cwd": "/",
            "noNewPrivileges": true,
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
                "inheritable": [], "ambient": [],
            },
        },
        "root": { "path": BASE, "readonly": true },
        "hostname": "cell",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc",
              "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
              "options": terminals },
        ],
        "linux": {
            "namespaces": namespaces,
            "rootfsPropagation": "private",
            "seccomp": seccomp()?,
            "maskedPaths": masked,
            "readonlyPaths": READ_ONLY,
        },
    }))
}

/// The calls of cell-init and of everything below it. Which of them the agent may make, and which are recorded when it tries, is the
/// matter of the filter that cell-init starts it with: of two filters the one that refuses without a word would win.
fn seccomp() -> Result<Value, SetupError> {
    let calls = native::calls_of_a_cell().map_err(|e| SetupError::new(e.to_string()))?;
    // What is called in the way of x32 is answered by the agent's own filter; without its name here it would be killed.
    let architectures: &[&str] = if cfg!(target_arch = "aarch64") {
        &["SCMP_ARCH_AARCH64"]
    } else {
        &["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"]
    };
    Ok(json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": libc::ENOSYS,
        "architectures": architectures,
        "syscalls": [{ "names": calls, "action": "SCMP_ACT_ALLOW" }],
    }))
}

/// Write the bundle into a directory.
///
/// # Errors
/// When it cannot be written.
pub(super) fn write(directory: &Path, descriptors: usize) -> Result<(), SetupError> {
    let failed = |e: std::io::Error| SetupError::new(format!("write the container's bundle: {e}"));
    std::fs::create_dir(directory).map_err(failed)?;
    let text = serde_json::to_vec(&config(descriptors)?).map_err(|e| failed(e.into()))?;
    std::fs::write(directory.join("config.json"), text).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_has_no_more_than_a_cell_needs() {
        let config = config(7).unwrap();
        let at = |pointer: &str| config.pointer(pointer).unwrap();
        assert_eq!(at("/process/args"), &json!([PROGRAM, INIT, "7"]));
        assert_eq!(at("/process/env"), &json!([]));
        assert_eq!(at("/process/noNewPrivileges"), &json!(true));
        assert_eq!(at("/process/capabilities/bounding"), &json!(["CAP_SETFCAP"]));
        assert_eq!(at("/process/capabilities/ambient"), &json!([]));
        assert_eq!(at("/root/readonly"), &json!(true));
        let masked = at("/linux/maskedPaths").as_array().unwrap();
        assert!(masked.iter().any(|path| path == "/proc/kcore"), "{masked:?}");
        let calls = at("/linux/seccomp/syscalls/0/names").as_array().unwrap();
        assert!(
            calls.iter().any(|call| call == "read") && calls.iter().any(|call| call == "mount"),
            "{calls:?}"
        );
        assert!(!calls.iter().any(|call| call == "create_module" || call == "uselib"), "{calls:?}");
    }
}
