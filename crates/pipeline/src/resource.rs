//! What each kind of resource answers to what is asked of every request: one question, one function, one arm a kind.

use std::borrow::Cow;
use std::collections::BTreeMap;

use chaperone_capability::{Action, Target};
use chaperone_inspect::Finding;
use chaperone_protocol::Failure;
use serde_json::{Map, Value, json};

use crate::access::{NetworkResource, Resource};
use crate::inspection::for_policy;

impl Resource {
    /// What it is, as it is named in records and to people; not yet safe to show.
    #[must_use]
    pub fn subject(&self) -> &str {
        match self {
            Self::File(file) => &file.path,
            Self::Network(network) => &network.shown,
            Self::Tool(tool) => tool.name,
            Self::Elevation(wish) => &wish.subject,
        }
    }

    /// Where it leads: the new name of a rename, the wish of an elevation.
    #[must_use]
    pub fn leads_to(&self) -> Option<&str> {
        match self {
            Self::File(file) => file.to.as_deref(),
            Self::Elevation(wish) => Some(&wish.wish),
            Self::Network(_) | Self::Tool(_) => None,
        }
    }

    /// What a capability has to permit of it, each.
    ///
    /// # Errors
    /// `not_permitted` for what no capability can name.
    pub(crate) fn targets(&self, action: Action) -> Result<Vec<Target<'_>>, Failure> {
        Ok(match self {
            Self::File(file) => {
                let paths = [Some(&file.path), file.to.as_ref(), file.origin.as_ref()];
                paths.into_iter().flatten().map(|path| Target::Path(path)).collect()
            }
            Self::Network(network) => vec![network_target(action, network)?],
            Self::Tool(tool) => vec![Target::Tool(tool.name)],
            Self::Elevation(_) => vec![Target::Nothing],
        })
    }

    /// What policy is told of it, beside what it is told of every request.
    pub(crate) fn tell(&self, action: Action, input: &mut Map<String, Value>) {
        match self {
            Self::File(_) | Self::Elevation(_) => {}
            Self::Network(network) => tell_network(input, action, network),
            Self::Tool(tool) => {
                input.insert("tool".to_owned(), json!(tool.name));
                input.insert("arguments_sha256".to_owned(), json!(hex::encode(tool.arguments)));
            }
        }
        if let Some(change) = self.change() {
            input.insert("change".to_owned(), change.into_owned());
        }
    }

    /// Facts about what it changes, for policy and for the record.
    pub(crate) fn change(&self) -> Option<Cow<'_, Value>> {
        match self {
            Self::File(file) => file.change.as_ref().map(Cow::Borrowed),
            Self::Elevation(wish) => Some(Cow::Owned(json!({ "elevate": wish.facts }))),
            Self::Network(_) | Self::Tool(_) => None,
        }
    }

    /// All of it, as the digest of an approval binds it.
    pub(crate) fn bound(&self) -> Value {
        match self {
            Self::File(file) => json!({
                "path": file.path, "to": file.to, "origin": file.origin, "kind": file.object.kind.as_str(),
                "dev": file.object.dev, "ino": file.object.ino, "nlink": file.object.nlink, "size": file.object.size,
                "mtime": file.object.mtime_ns.to_string(), "ctime": file.object.ctime_ns.to_string(),
                "staged": file.object.staged, "content": file.content, "verbatim": file.verbatim, "change": file.change,
            }),
            Self::Network(network) => json!({
                "host": network.host, "port": network.port, "addresses": network.addresses,
                "method": network.method, "path": network.url_path, "shown": network.shown,
                "content": network.content.map(|(sha256, bytes)| (hex::encode(sha256), bytes)),
                "facts": network.facts, "findings": network.findings.iter().map(bound_finding).collect::<Vec<_>>(),
                "sources": network.sources, "text": network.text, "query": network.query, "leaves": network.leaves,
                "head": network.facts.request().head_bytes,
            }),
            Self::Tool(tool) => json!({ "tool": tool.name, "arguments": hex::encode(tool.arguments) }),
            Self::Elevation(wish) => json!({
                "subject": wish.subject, "wish": wish.wish, "facts": wish.facts, "justification": wish.justification,
                "permissions": wish.permissions, "seconds": wish.seconds,
            }),
        }
    }

    /// What a standing answer is about: all that is bound, but what is new each time. Nothing of what is asked anew each time.
    pub(crate) fn standing(&self, was_inspected: bool, reasons: &[String]) -> Option<Value> {
        match self {
            Self::Elevation(_) => None,
            // The content tells more than the times and the size of the file that it stands in.
            Self::File(file) if was_inspected => Some(json!({
                "path": file.path, "to": file.to, "origin": file.origin, "change": file.change,
                "kind": file.object.kind.as_str(), "dev": file.object.dev, "ino": file.object.ino,
            })),
            Self::File(_) | Self::Tool(_) => Some(self.bound()),
            Self::Network(network) => Some(standing_network(network, reasons)),
        }
    }
}

fn network_target(action: Action, network: &NetworkResource) -> Result<Target<'_>, Failure> {
    let NetworkResource { host, port, .. } = network;
    match (action, &network.method, &network.url_path) {
        (Action::Resolve, ..) => Ok(Target::Host(host)),
        (Action::Connect, ..) => Ok(Target::Endpoint { host, port: *port }),
        (Action::Publish, ..) => Ok(Target::Port(*port)),
        (Action::Request, Some(method), Some(path)) => {
            Ok(Target::Request { host, port: *port, method, path })
        }
        _ => Err(Failure::new("not_permitted", "no object of this action on the network")),
    }
}

fn tell_network(input: &mut Map<String, Value>, action: Action, network: &NetworkResource) {
    let mut put = |name: &str, value: Value| input.insert(name.to_owned(), value);
    put("host", json!(network.host));
    put("port", json!(network.port));
    put("net", json!(network.facts));
    put("findings", for_policy(&network.findings));
    let (Action::Request, Some(method), Some(path)) = (action, &network.method, &network.url_path) else {
        return;
    };
    put("method", json!(method));
    let scheme = if network.facts.request().tls { "https" } else { "http" };
    // Only an IPv6 address has colons.
    let host = if network.host.contains(':') { format!("[{}]", network.host) } else { network.host.clone() };
    put("url", json!(format!("{scheme}://{host}:{}{path}", network.port).to_lowercase()));
}

/// With the digest of its value, which is never written down elsewhere.
fn bound_finding(finding: &Finding) -> Value {
    json!({ "found": finding, "value": hex::encode(finding.sha256) })
}

fn standing_network(network: &NetworkResource, reasons: &[String]) -> Value {
    let facts = network.facts.request();
    let message = reasons.iter().any(|r| r == "message_to_people");
    json!({
        "host": network.host, "port": network.port, "method": network.method, "path": network.url_path,
        "shown": network.shown, "sources": sorted(network.sources.iter().map(String::as_str)),
        "found": magnitudes(&network.findings), "registered": facts.registered, "unread": facts.unread,
        // A conversation sends the same passages again with each turn; a message to people is a new one.
        "content": network.content.filter(|_| message).map(|(sha256, _)| hex::encode(sha256)),
    })
}

/// Each once, in order.
pub(crate) fn sorted<'a>(list: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut list: Vec<&str> = list.collect();
    list.sort_unstable();
    list.dedup();
    list
}

/// Kinds of finding with how many there are, by order of magnitude.
fn magnitudes(findings: &[Finding]) -> BTreeMap<&str, u32> {
    let mut found = BTreeMap::new();
    for finding in findings {
        *found.entry(finding.detector.as_str()).or_insert(0u64) += finding.count;
    }
    found.into_iter().map(|(detector, count)| (detector, count.max(1).ilog10())).collect()
}
