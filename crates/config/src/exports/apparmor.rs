//! An AppArmor profile: the files that a cell shows, no network but sockets of the machine, no capability.

use super::quote;
use super::systemd::Root;
use super::target::{ExportError, File};
use super::wall::{CHANNEL, Wall};

/// The rules that are the same for every profile.
const PACK: &str = "packs/exports/apparmor.txt";

pub(super) fn files(wall: &Wall<'_>) -> Result<Vec<File>, ExportError> {
    let root = Root::read()?;
    let title = wall.title();
    let mut notes = wall.notes();
    notes.push(format!(
        "Made for a container or a unit that has a /tmp, a /dev/shm and a process tree of its own: \
         --security-opt apparmor={title}, or AppArmorProfile={title}. WIDER than the profile where it stands alone (aa-exec): \
         these are then the machine's."
    ));
    notes.push("It limits no memory, no processes and no time.".to_owned());
    let mut text = quote::comment("#", &notes);
    text.push_str(&format!(
        "abi <abi/3.0>,\ninclude <tunables/global>\n\nprofile {title} flags=(attach_disconnected,mediate_deleted) {{\n"
    ));
    text.push_str(chaperone_packs::text(PACK)?);
    if wall.profile.debug {
        text.push_str("  # Debuggers, inside.\n  ptrace (trace, tracedby) peer=@{profile_name},\n");
    }
    text.push_str("\n  # What a cell shows of the machine.\n");
    for path in root.system.iter().chain(&root.merged) {
        text.push_str(&tree(path, "mrix"));
    }
    for path in root.etc() {
        text.push_str(&tree(&path, "r"));
    }
    for name in &root.devices {
        text.push_str(&format!("  /dev/{name} rw,\n"));
    }
    text.push_str("\n  # What of it is never shown; a refusal outranks what is allowed above.\n");
    for path in root.never().chain(root.hidden.iter().map(String::as_str)) {
        text.push_str(&format!("  deny \"{}{{,/,/**}}\" mrwklx,\n", quote::apparmor(path)));
    }
    text.push_str("\n  # What the profile shows, where a container has it and where the machine has it.\n");
    for shown in &wall.shown {
        let source = wall.source(shown);
        text.push_str(&tree(&shown.at, "mrix"));
        if source != shown.at {
            text.push_str(&tree(&source, "mrix"));
        }
    }
    if let Some(channel) = &wall.options.channel {
        text.push_str("\n  # The way out.\n");
        for at in [CHANNEL, channel] {
            text.push_str(&format!("  \"{}\" rw,\n", quote::apparmor(at)));
        }
    }
    text.push_str("}\n");
    Ok(vec![File { name: format!("{title}.apparmor"), text }])
}

/// A directory or file, and all in it.
fn tree(path: &str, how: &str) -> String {
    format!("  \"{}{{,/,/**}}\" {how},\n", quote::apparmor(path.trim_end_matches('/')))
}
