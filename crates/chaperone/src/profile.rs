//! `profile`: what a session of a profile would be given of this machine.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use chaperone_protocol::reply::ProfileShown;
use chaperone_protocol::session::Mode;
use chaperone_protocol::{AskMode, OpenSession, Request, name_as_text};

use crate::cli::Profile;
use crate::connect::Broker;
use crate::out::say;
use crate::report::Report;
use crate::run::options::{environment, umask, workspace};
use crate::run::program;
use crate::show;
use crate::untrusted::Untrusted;

pub fn profile(command: &Profile) -> Result<u8, Report> {
    let Profile::Show { name, workspace: directory, json, command } = command;
    let asked = OpenSession {
        profile: Some(name.clone()),
        workspace: workspace(directory.as_deref())?,
        name: None,
        command: command.iter().map(|c| name_as_text(c.as_bytes()).into_owned()).collect(),
        program: command.first().and_then(|first| program(first)),
        backend: None,
        interactive: false,
        in_cell: true,
        ask: AskMode::Deny,
        ask_timeout_s: 1,
        umask: umask(),
        allow_hosts: Vec::new(),
        allow_services: Vec::new(),
        publish: Vec::new(),
        environment: environment(),
    };
    let answer = Broker::reach()?.ask(&Request::ProfileShow(Box::new(asked)))?;
    if *json {
        show::json(&answer);
        return Ok(0);
    }
    let shown: ProfileShown = serde_json::from_value(answer).map_err(Report::of)?;
    let path = |path: &Path| name_as_text(path.as_os_str().as_bytes()).into_owned();
    let mut rows = vec![["SHOWN", "HOW", "WHY"].map(str::to_owned).to_vec()];
    rows.extend(shown.mounts.iter().map(|mount| {
        let how = match mount.mode {
            Mode::Mediated => "mediated",
            Mode::Staged => "staged",
            Mode::ReadOnly => "read-only",
        };
        vec![path(&mount.from), how.to_owned(), format!("the profile's mount {}", mount.at)]
    }));
    rows.extend(shown.shown.iter().map(|s| vec![path(&s.path), "read-only".to_owned(), s.why.clone()]));
    show::table(&rows);
    say!("A session of it runs on the backend {}.", Untrusted::new(&shown.backend));
    Ok(0)
}
