//! A Seatbelt profile whose only way out is the broker's port on loopback, and a configuration profile that refuses an agent what
//! TCC would ask its user for.

use serde::Deserialize;

use super::quote;
use super::target::{ExportError, File};
use super::wall::{Shown, Wall};

/// The rules that are the same for every profile.
const PACK: &str = "packs/exports/seatbelt.txt";
const PRIVACY: &str = "packs/exports/macos.toml";

#[derive(Deserialize)]
struct Privacy {
    services: Vec<String>,
}

pub(super) fn files(wall: &Wall<'_>) -> Result<Vec<File>, ExportError> {
    Ok(vec![
        File { name: format!("{}.sb", wall.title()), text: seatbelt(wall)? },
        File { name: format!("{}.mobileconfig", wall.title()), text: privacy(wall)? },
    ])
}

fn seatbelt(wall: &Wall<'_>) -> Result<String, ExportError> {
    let title = wall.title();
    let command: Vec<String> = wall.command().into_iter().map(quote::shell).collect();
    let mut notes = wall.notes();
    notes.push(format!(
        "Run with it: env -i PATH=/usr/bin:/bin HOME=\"$s\" TMPDIR=\"$s\" sandbox-exec -D SCRATCH=\"$s\" -D WORKSPACE=\"$w\" -f \
         {title}.sb {}",
        command.join(" ")
    ));
    notes.push("$s is a new empty directory and $w the workspace, both without links in their paths: s=$(cd \"$(mktemp -d)\" && pwd -P).".to_owned());
    notes.push("Set the variables of the environment behind env -i yourself. It limits no memory, no processes and no time.".to_owned());
    notes.push(
        "WIDER than the profile: sizes and times of files elsewhere can be asked for, not their content; processes of other \
         programs are not hidden, and sockets of the machine cannot be served."
            .to_owned(),
    );
    let mut text = quote::comment(";", &notes);
    text.push_str(chaperone_packs::text(PACK)?);
    text.push_str("\n; What the profile shows.\n");
    for shown in &wall.shown {
        text.push_str(&format!("(allow file-read* (subpath {}))\n", place(shown)));
    }
    text.push_str("\n; No network, no name service, no socket of another program.\n(deny network*)\n");
    for name in ["com.apple.mDNSResponder", "com.apple.mDNSResponderHelper", "com.apple.dnssd.service"] {
        text.push_str(&format!("(deny mach-lookup (global-name {}))\n", quote::string(name)));
    }
    if let Some(port) = wall.options.port {
        text.push_str(&format!(
            "; The broker alone.\n(allow network-outbound (remote ip {}))\n",
            quote::string(&format!("localhost:{port}"))
        ));
    }
    Ok(text)
}

/// A directory as Seatbelt names it: below the parameter, or absolute.
fn place(shown: &Shown) -> String {
    let from = shown.from.to_string_lossy();
    if shown.from.is_absolute() {
        return quote::string(&from);
    }
    if from.is_empty() {
        return "(param \"WORKSPACE\")".to_owned();
    }
    format!("(string-append (param \"WORKSPACE\") {})", quote::string(&format!("/{from}")))
}

fn privacy(wall: &Wall<'_>) -> Result<String, ExportError> {
    let Privacy { services } = chaperone_packs::read(PRIVACY)?;
    let title = wall.title();
    let program = wall.options.command.first().map_or("/usr/local/bin/agent", String::as_str);
    let mut notes = wall.notes();
    notes.push(format!(
        "Refuses {program} what macOS would ask you for. Write the requirement that codesign -dr - prints of it for CodeRequirement; \
         macOS takes such a profile from a management service alone."
    ));
    let entry = format!(
        "<array><dict>\n        <key>Identifier</key><string>{0}</string>\n        <key>IdentifierType</key><string>path</string>\n        \
         <key>CodeRequirement</key><string>identifier \"{1}\"</string>\n        \
         <key>Authorization</key><string>Deny</string>\n      </dict></array>",
        quote::xml(program),
        quote::xml(program.rsplit('/').next().unwrap_or(program)),
    );
    let mut entries = String::new();
    for service in &services {
        // Events to other programs name who receives them: here whoever it is that could start more.
        let entry =
            if service == "AppleEvents" { entry.replace("      </dict>", RECEIVER) } else { entry.clone() };
        entries.push_str(&format!("      <key>{}</key>{entry}\n", quote::xml(service)));
    }
    Ok(format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \
         \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n<!--\n{}-->\n<plist version=\"1.0\">\n<dict>\n  \
         <key>PayloadType</key><string>Configuration</string>\n  <key>PayloadVersion</key><integer>1</integer>\n  \
         <key>PayloadScope</key><string>System</string>\n  <key>PayloadIdentifier</key><string>chaperone.{title}</string>\n  \
         <key>PayloadUUID</key><string>{}</string>\n  <key>PayloadDisplayName</key><string>Chaperone: {}</string>\n  \
         <key>PayloadContent</key>\n  <array><dict>\n    \
         <key>PayloadType</key><string>com.apple.TCC.configuration-profile-policy</string>\n    \
         <key>PayloadVersion</key><integer>1</integer>\n    <key>PayloadIdentifier</key><string>chaperone.{title}.tcc</string>\n    \
         <key>PayloadUUID</key><string>{}</string>\n    <key>Services</key>\n    <dict>\n{entries}    </dict>\n  </dict></array>\n\
         </dict>\n</plist>\n",
        quote::xml_comment(&quote::comment("", &notes)),
        uuid(&title, 0),
        quote::xml(wall.name),
        uuid(&title, 1),
    ))
}

const RECEIVER: &str = "        <key>AEReceiverIdentifier</key><string>com.apple.systemevents</string>
        <key>AEReceiverIdentifierType</key><string>bundleID</string>
        <key>AEReceiverCodeRequirement</key><string>identifier \"com.apple.systemevents\" and anchor apple</string>
      </dict>";

/// The same for the same profile, so that a new export replaces an old one: FNV-1a, in the form of a UUID (version 8).
fn uuid(title: &str, part: u8) -> String {
    const START: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0100_0000_0000_0000_013b;
    let number =
        title.bytes().chain([part]).fold(START, |sum, byte| (sum ^ u128::from(byte)).wrapping_mul(PRIME));
    let number = number & !(0xf << 76) & !(0x3 << 62) | (0x8 << 76) | (0x2 << 62);
    let hex = format!("{number:032X}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}
