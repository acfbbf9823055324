//! The user's answers, and the second factor behind some of them.

use chaperone_pipeline::approvals::Answer;
use chaperone_protocol::reply::{Answered, Done};
use chaperone_protocol::{Failure, Scope};

use crate::broker::Broker;

pub fn approve(
    broker: &Broker,
    id: &str,
    scope: Scope,
    redact: bool,
    pin: Option<&str>,
) -> Result<Answered, Failure> {
    let approvals = &broker.pipeline.approvals;
    let ask = approvals.find(id)?;
    if redact && !ask.redactable {
        return Err(Failure::new("cannot_redact", "this request cannot be answered with a redacted copy")
            .advise("approve it as it is, or deny it"));
    }
    if scope != Scope::Once && (ask.action == "elevate" || ask.effect == "step_up") {
        return Err(Failure::new("asked_every_time", "an answer to this request holds once")
            .advise("approve it without --session and --for; an elevation holds as long as it names"));
    }
    let pin_proof = match (ask.effect.as_str(), pin) {
        ("step_up", None) => {
            return Err(Failure::new("needs_second_factor", "this request needs your PIN")
                .advise("chaperone approve ID --pin-stdin"));
        }
        (_, Some(pin)) => Some(broker.vault.prove_pin(pin, &ask.digest)?),
        (_, None) => None,
    };
    approvals.answer(&ask.id, Answer::Approve { scope, redact, pin_proof })?;
    Ok(Answered { id: ask.id })
}

pub fn deny(broker: &Broker, id: &str, why: Option<String>) -> Result<Answered, Failure> {
    let ask = broker.pipeline.approvals.find(id)?;
    broker.pipeline.approvals.answer(&ask.id, Answer::Deny { why })?;
    Ok(Answered { id: ask.id })
}

pub fn set_pin(broker: &Broker, pin: &str, old: Option<&str>) -> Result<Done, Failure> {
    let client = broker.vault.client();
    client.pin_set(old, pin).map_err(chaperone_pipeline::vault::failure)?;
    Ok(Done {})
}
