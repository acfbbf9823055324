//! An SELinux module in CIL: a domain that reads what is labelled for it, writes what it made itself, and has no capability and
//! no port.

use super::quote;
use super::target::{ExportError, File};
use super::wall::Wall;

/// The rules that are the same for every profile.
const PACK: &str = "packs/exports/selinux.txt";

pub(super) fn files(wall: &Wall<'_>) -> Result<Vec<File>, ExportError> {
    let block = wall.title().replace('-', "_");
    let mut notes = wall.notes();
    notes.push(format!(
        "Load it: semodule -i {block}.cil. It stands on the reference policy's types (Debian, Fedora)."
    ));
    notes.push(format!(
        "Label the directories that the profile shows, and nothing else: semanage fcontext -a -t {block}.workspace \
         'DIRECTORY(/.*)?' and restorecon -R DIRECTORY; the broker's channel, where there is one, {block}.channel."
    ));
    notes.push(format!(
        "Run with it: SELinuxContext=system_u:system_r:{block}.process:s0 in a unit, --security-opt \
         label=type:{block}.process for a container. There the engine's policy adds what it gives every container."
    ));
    notes.push("It limits no memory, no processes and no time.".to_owned());
    let mut text = quote::comment(";", &notes);
    text.push_str(&format!("(block {block}\n"));
    text.push_str(chaperone_packs::text(PACK)?);
    if wall.profile.debug {
        text.push_str("\n    ; Debuggers, inside.\n    (allow process self (process (ptrace)))\n");
    }
    text.push_str(")\n");
    Ok(vec![File { name: format!("{block}.cil"), text }])
}
