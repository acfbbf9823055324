//! What was granted is held to for as long as it goes on: a connection outlives the moment that it was decided in.

use chaperone_policy::Effect;

use crate::access::AccessRequest;
use crate::authority;
use crate::pipeline::{Pipeline, guarded};
use crate::refusal::Refusal;
use crate::session::Session;

impl Pipeline {
    /// Whether what was granted still holds: by the capability or an elevation, and by the policies where they are others than those
    /// of the revision `known`, which becomes the one in force. What the user was asked stays answered. Nothing is recorded or used up.
    ///
    /// # Errors
    /// The refusal that a new attempt would get.
    pub fn may_go_on(
        &self,
        session: &Session,
        request: &AccessRequest,
        known: &mut Option<String>,
    ) -> Result<(), Refusal> {
        guarded(|| {
            authority::still_permits(session, &self.ledgers, request, self.clock.now())
                .map_err(Refusal::by_capability)?;
            let revision = self.policy.current().revision().to_owned();
            if known.as_ref() == Some(&revision) {
                return Ok(());
            }
            let decision = self.policy_on(session, request, None, None)?;
            if decision.effect == Effect::Deny {
                return Err(Refusal::by_policy(&decision));
            }
            *known = Some(revision);
            Ok(())
        })
    }
}
