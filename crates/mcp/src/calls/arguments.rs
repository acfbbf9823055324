//! The arguments of a call that acts on the session itself: what is performed is what was decided on.

use chaperone_pipeline::Authorized;
use chaperone_pipeline::access::Resource;
use chaperone_protocol::Failure;
use rmcp::model::JsonObject;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::tools;

/// Arguments that were parsed, and the digest that is decided on. They are taken out with a decision on exactly them.
#[derive(Debug)]
pub(super) struct Arguments<T> {
    parsed: T,
    digest: [u8; 32],
}

impl<T: DeserializeOwned> Arguments<T> {
    /// Parsed before anybody is asked: what nobody can perform leaves no intent.
    ///
    /// # Errors
    /// As [`tools::parse`].
    pub fn parse(arguments: Option<JsonObject>) -> Result<Self, Failure> {
        let digest = Sha256::digest(serde_json::to_vec(&arguments).unwrap_or_default()).into();
        Ok(Self { parsed: tools::parse(arguments)?, digest })
    }
}

impl<T> Arguments<T> {
    /// What is decided on.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The arguments, where `granted` is the call of this tool with them.
    ///
    /// # Errors
    /// `internal_error` where it is another one: nothing is performed then.
    pub fn granted_to(self, tool: &str, granted: &Authorized) -> Result<T, Failure> {
        self.decided_in(tool, &granted.request().resource)
    }

    fn decided_in(self, tool: &str, decided: &Resource) -> Result<T, Failure> {
        match decided {
            Resource::Tool(call) if call.name == tool && call.arguments == self.digest => Ok(self.parsed),
            _ => Err(Failure::new("internal_error", "this is not the call that was decided on")),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use chaperone_pipeline::access::ToolResource;
    use serde_json::json;

    use super::*;

    fn attenuation(uses: u64) -> Arguments<tools::Attenuate> {
        let arguments = json!({ "permissions": [], "uses": uses });
        Arguments::parse(arguments.as_object().cloned()).unwrap()
    }

    #[test]
    fn a_decision_on_another_tool_or_other_arguments_performs_nothing() {
        let decided = |name, arguments| Resource::Tool(ToolResource { name, arguments });
        let tried = |resource: &Resource| attenuation(1).decided_in("attenuate_capability", resource);
        let digest = attenuation(1).digest();
        assert_eq!(tried(&decided("attenuate_capability", digest)).unwrap().uses, Some(1));
        for other in [
            decided("stage_blob", digest),
            decided("attenuate_capability", attenuation(2).digest()),
            decided("attenuate_capability", [0; 32]),
        ] {
            assert_eq!(tried(&other).unwrap_err().code, "internal_error");
        }
    }

    #[test]
    fn arguments_that_cannot_be_performed_are_refused_before_anybody_is_asked() {
        let arguments = json!({ "permissions": "all" });
        let parsed = Arguments::<tools::Attenuate>::parse(arguments.as_object().cloned());
        assert_eq!(parsed.unwrap_err().code, "bad_arguments");
    }
}
