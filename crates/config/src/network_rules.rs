//! The rules of a session's network exit: its profile's, its services' and those of the command line.

use std::path::Path;

use chaperone_egress::{Rule, with_localhost};
use chaperone_protocol::Failure;

use crate::profile::Profile;
use crate::services;

/// What may be reached: what the profile names, and what the user named at the start.
///
/// # Errors
/// `bad_host`, `bad_services`, `no_such_service`.
pub fn rules(
    profile: &Profile,
    hosts: &[String],
    more: &[String],
    config: &Path,
) -> Result<Vec<Rule>, Failure> {
    let mut rules = profile.network.allow.clone();
    for rule in &mut rules {
        rule.source.clone_from(&profile.name);
    }
    let services = services::all(config)?;
    for name in profile.network.services.iter().chain(more) {
        rules.extend(services::rules(&services, name)?);
    }
    for host in hosts {
        let mut rule = Rule::of_text(host).map_err(|e| {
            Failure::new("bad_host", format!("--allow-host {host}: {e}"))
                .advise("write it like api.example.com, api.example.com:8443 or tcp://api.example.com:6379")
        })?;
        rule.source = "command_line".to_owned();
        rules.push(rule);
    }
    Ok(with_localhost(rules))
}
