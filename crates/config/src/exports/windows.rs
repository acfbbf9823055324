//! Windows: a sandbox without a network and with read-only directories, a package that runs in an AppContainer without a
//! capability, and Controlled Folder Access over the directories.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::quote;
use super::target::{ExportError, File};
use super::wall::{Shown, Wall};

const PACK: &str = "packs/exports/windows.toml";
/// Where the sandbox has what the profile shows.
const INSIDE: &str = r"C:\workspace";

#[derive(Deserialize)]
struct Windows {
    sandbox: BTreeMap<String, String>,
    container: Container,
}

#[derive(Deserialize)]
struct Container {
    refused: Vec<String>,
}

pub(super) fn files(wall: &Wall<'_>) -> Result<Vec<File>, ExportError> {
    let pack: Windows = chaperone_packs::read(PACK)?;
    let title = wall.title();
    let directories = wall.shown.iter().map(|shown| host(wall, shown)).collect::<Result<Vec<_>, _>>()?;
    let mut notes = wall.notes();
    if wall.options.workspace.is_none() {
        notes.push(format!("{INSIDE} stands for the workspace: name yours with --workspace."));
    }
    Ok(vec![
        File { name: format!("{title}.wsb"), text: sandbox(wall, &pack, &notes, &directories) },
        File { name: format!("{title}.appxmanifest.xml"), text: package(wall, &pack, &notes) },
        File { name: format!("{title}.ps1"), text: protected(wall, &notes, &directories) },
    ])
}

/// A directory of the user's as Windows names it.
fn host(wall: &Wall<'_>, shown: &Shown) -> Result<String, ExportError> {
    let workspace = wall.options.workspace.as_deref().unwrap_or(INSIDE);
    let is_absolute = |path: &str| {
        let mut chars = path.chars();
        chars.next().is_some_and(|c| c.is_ascii_alphabetic())
            && chars.next() == Some(':')
            && matches!(chars.next(), Some('\\' | '/'))
    };
    if !is_absolute(workspace) {
        return Err(wall.unwritable(
            "workspace",
            workspace,
            r"name a directory of Windows, such as C:\Users\me\reports",
        ));
    }
    let from = shown.from.to_string_lossy();
    let path = if is_absolute(&from) {
        from.into_owned()
    } else if shown.from.is_absolute() {
        return Err(wall.unwritable("mount", &from, "it is not a directory of Windows"));
    } else {
        format!("{workspace}/{from}")
    };
    let path = path.replace('/', "\\");
    if path.get(2..).is_some_and(|rest| rest.contains(['<', '>', ':', '"', '|', '?', '*'])) {
        return Err(wall.unwritable("directory", &path, "Windows has no such names"));
    }
    Ok(path.trim_end_matches('\\').to_owned())
}

fn sandbox(wall: &Wall<'_>, pack: &Windows, notes: &[String], directories: &[String]) -> String {
    let mut notes = notes.to_vec();
    notes.push(
        "It limits no processes and no time; the sandbox and all in it is gone when it is closed.".to_owned(),
    );
    let mut out = format!("<!--\n{}-->\n<Configuration>\n", quote::xml_comment(&quote::comment("", &notes)));
    for (setting, value) in &pack.sandbox {
        out.push_str(&format!("  <{setting}>{}</{setting}>\n", quote::xml(value)));
    }
    // In whole megabytes, and no more than the profile says.
    if let Some(bytes) = wall.memory {
        out.push_str(&format!("  <MemoryInMB>{}</MemoryInMB>\n", bytes >> 20));
    }
    out.push_str("  <MappedFolders>\n");
    for (shown, directory) in wall.shown.iter().zip(directories) {
        let inside = format!("C:{}", shown.at.replace('/', "\\"));
        out.push_str(&format!(
            "    <MappedFolder>\n      <HostFolder>{}</HostFolder>\n      <SandboxFolder>{}</SandboxFolder>\n      \
             <ReadOnly>true</ReadOnly>\n    </MappedFolder>\n",
            quote::xml(directory),
            quote::xml(&inside)
        ));
    }
    out.push_str("  </MappedFolders>\n");
    if !wall.options.command.is_empty() {
        let command: Vec<String> = wall.command().into_iter().map(argument).collect();
        out.push_str(&format!(
            "  <LogonCommand>\n    <Command>{}</Command>\n  </LogonCommand>\n",
            quote::xml(&command.join(" "))
        ));
    }
    out.push_str("</Configuration>\n");
    out
}

/// A word of a command line as programs of Windows take it apart.
fn argument(word: &str) -> String {
    if !word.is_empty() && !word.contains([' ', '"', '\t']) {
        return word.to_owned();
    }
    let mut out = String::from("\"");
    let mut backslashes = 0;
    for c in word.chars() {
        match c {
            '\\' => backslashes += 1,
            '"' => {
                out.extend(std::iter::repeat_n('\\', backslashes + 1));
                backslashes = 0;
            }
            _ => backslashes = 0,
        }
        out.push(c);
    }
    out.extend(std::iter::repeat_n('\\', backslashes));
    out.push('"');
    out
}

/// A manifest of a package: its program runs in an AppContainer and has no capability.
fn package(wall: &Wall<'_>, pack: &Windows, notes: &[String]) -> String {
    let mut notes = notes.to_vec();
    notes.push(
        "Sign a package with your own Publisher and Executable. An AppContainer reads what its SID is granted: icacls DIRECTORY \
         /grant *SID:(OI)(CI)RX, with the SID of the package (Get-AppxPackage, CheckNetIsolation)."
            .to_owned(),
    );
    notes.push(format!(
        "No capability is named, and none of these is to be added: {}.",
        pack.container.refused.join(", ")
    ));
    notes.push("It limits no memory, no processes and no time.".to_owned());
    let identity: String = wall.title().chars().map(|c| if c == '_' { '-' } else { c }).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<!--\n{}-->\n<Package \
         xmlns=\"http://schemas.microsoft.com/appx/manifest/foundation/windows10\"\n  \
         xmlns:uap=\"http://schemas.microsoft.com/appx/manifest/uap/windows10\"\n  \
         xmlns:uap10=\"http://schemas.microsoft.com/appx/manifest/uap/windows10/10\">\n  \
         <Identity Name=\"{identity}\" Publisher=\"CN=you\" Version=\"1.0.0.0\"/>\n  <Properties>\n    \
         <DisplayName>{identity}</DisplayName>\n    <PublisherDisplayName>you</PublisherDisplayName>\n    \
         <Logo>logo.png</Logo>\n  </Properties>\n  <Dependencies>\n    \
         <TargetDeviceFamily Name=\"Windows.Desktop\" MinVersion=\"10.0.19041.0\" MaxVersionTested=\"10.0.26100.0\"/>\n  \
         </Dependencies>\n  <Resources><Resource Language=\"en-us\"/></Resources>\n  <Applications>\n    \
         <Application Id=\"Agent\" Executable=\"agent.exe\" uap10:RuntimeBehavior=\"packagedClassicApp\" \
         uap10:TrustLevel=\"appContainer\">\n      <uap:VisualElements DisplayName=\"{identity}\" Description=\"{identity}\" \
         BackgroundColor=\"transparent\" Square150x150Logo=\"logo.png\" Square44x44Logo=\"logo.png\"/>\n    </Application>\n  \
         </Applications>\n</Package>\n",
        quote::xml_comment(&quote::comment("", &notes)),
    )
}

/// Controlled Folder Access over the directories: programs that it does not know change nothing in them, on the host, too.
fn protected(wall: &Wall<'_>, notes: &[String], directories: &[String]) -> String {
    let mut notes = notes.to_vec();
    notes.push(
        "Controlled Folder Access keeps programs from changing files; it keeps nobody from reading them."
            .to_owned(),
    );
    notes.push("Never add the agent to the allowed programs.".to_owned());
    // Windows PowerShell takes a file for UTF-8 where it begins with this mark.
    let mut out = format!("\u{feff}#Requires -RunAsAdministrator\n{}", quote::comment("#", &notes));
    out.push_str("$ErrorActionPreference = 'Stop'\nSet-MpPreference -EnableControlledFolderAccess Enabled\n");
    for directory in directories {
        out.push_str(&format!(
            "Add-MpPreference -ControlledFolderAccessProtectedFolders {}\n",
            quote::powershell(directory)
        ));
    }
    if let Some(program) = wall.options.command.first() {
        out.push_str(&format!(
            "Remove-MpPreference -ControlledFolderAccessAllowedApplications {}\n",
            quote::powershell(program)
        ));
    }
    out
}
