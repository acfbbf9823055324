//! `export`: a profile as the settings of another wall, written or printed.

use std::path::{Path, PathBuf};

use chaperone_config::exports::{self, File, Options};
use chaperone_config::{Dirs, Profile, dirs};
use chaperone_workspace::directories::{self, Places};
use serde_json::json;

use crate::cli::Export;
use crate::out::{self, say};
use crate::report::Report;
use crate::run::options::workspace;
use crate::show;

/// As for arguments that are not understood.
const USAGE: u8 = 2;

pub fn export(asked: &Export) -> Result<u8, Report> {
    let dirs = Dirs::from_environment().map_err(Report::of)?;
    let profile = Profile::find(&asked.profile, &dirs.config.join("profiles")).map_err(Report::of)?;
    if let Some(channel) = &asked.channel {
        refuse_the_users_own(Path::new(channel), &dirs)?;
    }
    let options = Options {
        workspace: directory(asked, &profile, &dirs)?,
        image: asked.image.clone(),
        channel: asked.channel.clone(),
        port: asked.port,
        command: asked.command.clone(),
    };
    let files = exports::export(asked.target, &asked.profile, &profile, &options)
        .map_err(|e| Report::of(e).exit(USAGE))?;
    if asked.json {
        let files: Vec<_> =
            files.iter().map(|file| json!({ "name": file.name, "text": file.text })).collect();
        show::json(&json!(files));
    } else if asked.output == Path::new("-") {
        print(&files);
    } else {
        write(&files, &asked.output)?;
    }
    Ok(0)
}

/// The socket on which the user answers: whoever reaches it can approve anything.
fn refuse_the_users_own(channel: &Path, dirs: &Dirs) -> Result<(), Report> {
    let own = dirs.socket();
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if channel.file_name() == own.file_name() || real(channel) == real(&own) || !channel.is_absolute() {
        return Err(Report::new(format!("--channel {}: not the channel of a session", channel.display()))
            .advise("name the socket of a session's channel by its absolute path; never the broker's own socket, on which you approve requests")
            .exit(USAGE));
    }
    Ok(())
}

/// The workspace, where the target has one, under the rules of `run`: no home, no directory of the system or of credentials. One that
/// is not on this machine is another machine's.
fn directory(asked: &Export, profile: &Profile, dirs: &Dirs) -> Result<Option<String>, Report> {
    let of_windows =
        asked.workspace.as_deref().is_some_and(|named| named.contains('\\') && !named.starts_with('/'));
    if !asked.target.names_directories() || of_windows {
        return Ok(asked.workspace.clone());
    }
    let named = workspace(asked.workspace.as_deref().map(Path::new))?;
    let homes: Vec<PathBuf> =
        std::env::var_os("HOME").map(PathBuf::from).into_iter().chain(dirs::home_of_user()).collect();
    let places = Places::new(&homes, &[&dirs.config, &dirs.state, &dirs.run]);
    let named = if named.exists() { directories::resolve(&named, &places)? } else { named };
    for (_, source) in directories::sources(profile, &named) {
        if source.exists() {
            directories::resolve(&source, &places)?;
        }
    }
    match named.into_os_string().into_string() {
        Ok(named) => Ok(Some(named)),
        Err(named) => {
            Err(Report::new(format!("--workspace {}: its name is not text", named.display())).exit(USAGE))
        }
    }
}

/// One file as it is; more of them each below its name.
fn print(files: &[File]) {
    match files {
        [only] => out::write(format_args!("{}", only.text)),
        several => several.iter().for_each(|file| say!("==> {} <==\n{}", file.name, file.text)),
    }
}

fn write(files: &[File], directory: &Path) -> Result<(), Report> {
    let failed = |path: &Path, e: &std::io::Error| Report::new(format!("{}: {e}", path.display()));
    std::fs::create_dir_all(directory).map_err(|e| failed(directory, &e))?;
    for file in files {
        let path = directory.join(&file.name);
        std::fs::write(&path, &file.text).map_err(|e| failed(&path, &e))?;
        say!("written: {}", path.display());
    }
    Ok(())
}
