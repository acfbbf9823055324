//! `vault pin|show`, and the vault's own process.

use std::path::Path;

use chaperone_protocol::Request;

use crate::approvals::read_pin;
use crate::cli::Vault;
use crate::connect::Broker;
use crate::out::say;
use crate::report::Report;
use crate::show;

pub fn vault(command: &Vault) -> Result<u8, Report> {
    match command {
        Vault::Pin => {
            // Two lines: the old PIN (empty when there is none yet) and the new one; one line enrols.
            let typed = read_pin()?;
            let (old, new) = match typed.split_once('\n') {
                Some((old, new)) => (Some(old.trim_end_matches('\r').to_owned()), new.to_owned()),
                None => (None, typed),
            };
            Broker::reach()?.ask(&Request::PinSet { pin: new, old: old.filter(|o| !o.is_empty()) })?;
            say!("the PIN is set");
        }
        Vault::Show { json } => {
            let answer = Broker::reach()?.ask(&Request::Status)?;
            if *json {
                show::json(&answer);
            } else {
                say!("vault pid      {}", answer["vault"]["pid"]);
                say!("checkpoint key {}", show::text(&answer, "checkpoint_vkey"));
            }
        }
    }
    Ok(0)
}

/// Serve the broker on the inherited sockets until it hangs up.
pub fn process(folder: &Path) -> Result<u8, Report> {
    // The exit code is the vault's own; zero and one are all it knows.
    let code = chaperone_vault::serve_inherited(folder);
    Ok(u8::from(code != std::process::ExitCode::SUCCESS))
}
