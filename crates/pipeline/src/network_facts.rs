//! What the network exit found out about a name, a connection or a request: `input.net` of policies.

use chaperone_inspect::Place;
use serde::Serialize;

/// Absent facts are undefined for policies. `docs/policy.md` lists them.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct NetworkFacts {
    /// A rule names the host (and port).
    pub allowed: bool,
    /// Where that rule comes from: a profile, a service, the command line, an approval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The user named this very host beforehand.
    pub trusted: bool,
    /// What the addresses reach: `public`, `private`, `loopback`, `metadata`, `own_address`…
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reaches: Option<&'static str>,
    /// Whatever is not public was named: by a rule for that address, or by the user's hosts file.
    pub named: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetLevel>,
    /// Connections to this destination, which is not trusted, within ten minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub untrusted_recent: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_contact: Option<bool>,
    /// Of a query: how it shows that the name, or those before it, carry data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<&'static str>,
    /// Of a query: its record type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestFacts>,
}

/// What is known of one request, or of the newest message of a conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RequestFacts {
    pub tls: bool,
    /// A rule permits this method and path.
    pub request_allowed: bool,
    /// That rule was written for this very method.
    pub method_named: bool,
    pub websocket: bool,
    /// Bytes of the body.
    pub bytes: u64,
    /// Bytes of the address and the headers; for the one who is asked.
    #[serde(skip)]
    pub head_bytes: u64,
    /// Passages of what the session has read.
    pub passages: usize,
    /// The files that they are from, largest first.
    pub read_from: Vec<String>,
    /// Registered values.
    pub registered: usize,
    /// Parts that could not be looked into, and why.
    pub unread: Vec<String>,
    /// Secrets in the headers that credentials belong in.
    pub credentials: Vec<Credential>,
    /// Some of it stands in the path, which is not written down then.
    #[serde(skip)]
    pub hides_target: bool,
}

/// A secret where a credential belongs. Whether it may go there is for policy to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Credential {
    pub detector: String,
    /// The profile itself gives this key to the agent.
    pub own: bool,
    /// The header that it stands in.
    #[serde(rename = "where")]
    pub place: Place,
    /// Values found, repetitions included.
    pub count: u64,
}

/// How much of a budget is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetLevel {
    Fine,
    Near,
    Over,
}

impl NetworkFacts {
    /// What is not public and not named, as a reason: whichever check refused it first, the log should say so.
    #[must_use]
    pub fn reached(&self) -> Option<&'static str> {
        if self.named {
            return None;
        }
        match self.reaches? {
            "public" | "nothing" => None,
            "metadata" => Some("metadata_address"),
            _ => Some("private_address"),
        }
    }

    /// What is known of the request; nothing for a name or a connection.
    #[must_use]
    pub fn request(&self) -> RequestFacts {
        self.request.clone().unwrap_or_default()
    }
}
