//! One permission: an action and the one kind of object it applies to.

use serde::{Deserialize, Serialize};

use crate::error::Rejection;
use crate::limits;
use crate::path_pattern::{PathPattern, Segment, is_normalised};

/// What can be permitted. `write` is also create, truncate, mkdir, links and attributes, and includes `append`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Read,
    Write,
    Append,
    List,
    Delete,
    Rename,
    Commit,
    Exec,
    Publish,
    Connect,
    Resolve,
    Request,
    Sign,
    Decrypt,
    Tool,
    Plugin,
    Elevate,
}

impl Action {
    /// The name used in tokens, policy and the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Append => "append",
            Self::List => "list",
            Self::Delete => "delete",
            Self::Rename => "rename",
            Self::Commit => "commit",
            Self::Exec => "exec",
            Self::Publish => "publish",
            Self::Connect => "connect",
            Self::Resolve => "resolve",
            Self::Request => "request",
            Self::Sign => "sign",
            Self::Decrypt => "decrypt",
            Self::Tool => "tool",
            Self::Plugin => "plugin",
            Self::Elevate => "elevate",
        }
    }

    fn includes(self, wanted: Self) -> bool {
        self == wanted || (self == Self::Write && wanted == Self::Append)
    }
}

impl std::str::FromStr for Action {
    type Err = Rejection;

    fn from_str(text: &str) -> Result<Self, Rejection> {
        use serde::de::{IntoDeserializer, value::Error};
        let deserializer: serde::de::value::StrDeserializer<'_, Error> = text.into_deserializer();
        Self::deserialize(deserializer).map_err(|_| Rejection::Malformed("an unknown action"))
    }
}

/// A permission as it is written in a token. Which members an action takes is fixed (see `docs/capabilities.md`); any
/// other member is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PermissionClaim {
    pub action: Action,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
}

impl PermissionClaim {
    fn new(action: Action) -> Self {
        Self { action, path: None, host: None, port: None, method: None, key: None, tool: None, plugin: None }
    }

    /// A permission on a path pattern; for a name that is not a pattern, [`crate::escape_path`] it first.
    pub fn path(action: Action, pattern: impl Into<String>) -> Self {
        Self { path: Some(pattern.into()), ..Self::new(action) }
    }

    /// To a host, or `*` for all that policy allows; without a port, to every one.
    pub fn connect(host: impl Into<String>, port: Option<u16>) -> Self {
        Self { host: Some(host.into()), port, ..Self::new(Action::Connect) }
    }

    /// As [`Self::connect`], for HTTP requests of every method and path.
    pub fn request(host: impl Into<String>, port: Option<u16>) -> Self {
        Self { host: Some(host.into()), port, ..Self::new(Action::Request) }
    }

    pub fn resolve(host: impl Into<String>) -> Self {
        Self { host: Some(host.into()), ..Self::new(Action::Resolve) }
    }

    pub fn key(action: Action, handle: impl Into<String>) -> Self {
        Self { key: Some(handle.into()), ..Self::new(action) }
    }

    pub fn tool(name: impl Into<String>) -> Self {
        Self { tool: Some(name.into()), ..Self::new(Action::Tool) }
    }

    pub fn plugin(name: impl Into<String>) -> Self {
        Self { plugin: Some(name.into()), ..Self::new(Action::Plugin) }
    }

    pub fn publish(port: u16) -> Self {
        Self { port: Some(port), ..Self::new(Action::Publish) }
    }

    /// May ask for more; what is granted is a capability of its own.
    pub fn elevate() -> Self {
        Self::new(Action::Elevate)
    }
}

/// The resolved object of one action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// An absolute path in the cell's view, resolved (no links) and normalised.
    Path(&'a str),
    /// A canonical host name (lower case, no trailing dot, A-labels) or address, and its port.
    Endpoint {
        host: &'a str,
        port: u16,
    },
    Host(&'a str),
    /// `path` is the decoded, normalised path of the URL without its query; with or without a slash at its end.
    Request {
        host: &'a str,
        port: u16,
        method: &'a str,
        path: &'a str,
    },
    Port(u16),
    /// A handle of the vault.
    Key(&'a str),
    Tool(&'a str),
    Plugin {
        name: &'a str,
        tool: Option<&'a str>,
    },
    /// For [`Action::Elevate`], which has no object.
    Nothing,
}

impl Target<'_> {
    pub(crate) fn is_canonical(&self) -> bool {
        match self {
            Self::Path(path) => is_normalised(path),
            Self::Endpoint { host, .. } | Self::Host(host) => is_canonical_host(host),
            Self::Request { host, path, .. } => is_canonical_host(host) && is_normalised_in_url(path),
            Self::Port(_) | Self::Key(_) | Self::Tool(_) | Self::Plugin { .. } | Self::Nothing => true,
        }
    }
}

/// A compiled permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    claim: PermissionClaim,
    scope: Scope,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Scope {
    Path(PathPattern),
    Endpoint { host: HostPattern, port: Option<u16> },
    Host(HostPattern),
    Request { host: HostPattern, port: Option<u16>, method: Option<String>, path: Option<PathPattern> },
    Port(u16),
    Key(Segment),
    Tool(Segment),
    Plugin { name: Segment, tool: Option<Segment> },
    Nothing,
}

impl Permission {
    pub fn compile(claim: &PermissionClaim) -> Result<Self, Rejection> {
        let PermissionClaim { action, path, host, port, method, key, tool, plugin } = claim;
        let scope = match (action, path, host, port, method, key, tool, plugin) {
            (
                Action::Read
                | Action::Write
                | Action::Append
                | Action::List
                | Action::Delete
                | Action::Rename
                | Action::Commit
                | Action::Exec,
                Some(path),
                None,
                None,
                None,
                None,
                None,
                None,
            ) => Scope::Path(path_pattern(path)?),
            (Action::Connect, None, Some(host), port, None, None, None, None) => {
                Scope::Endpoint { host: HostPattern::parse(host)?, port: *port }
            }
            (Action::Resolve, None, Some(host), None, None, None, None, None) => {
                Scope::Host(HostPattern::parse(host)?)
            }
            (Action::Request, path, Some(host), port, method, None, None, None) => Scope::Request {
                host: HostPattern::parse(host)?,
                port: *port,
                method: method.as_deref().map(http_method).transpose()?,
                path: path.as_deref().map(path_pattern).transpose()?,
            },
            (Action::Publish, None, None, Some(port), None, None, None, None) => Scope::Port(*port),
            (Action::Sign | Action::Decrypt, None, None, None, None, Some(key), None, None) => {
                Scope::Key(name(key)?)
            }
            (Action::Tool, None, None, None, None, None, Some(tool), None) => Scope::Tool(name(tool)?),
            (Action::Plugin, None, None, None, None, None, tool, Some(plugin)) => {
                Scope::Plugin { name: name(plugin)?, tool: tool.as_deref().map(name).transpose()? }
            }
            (Action::Elevate, None, None, None, None, None, None, None) => Scope::Nothing,
            _ => return Err(Rejection::Malformed("a permission has the wrong members for its action")),
        };
        Ok(Self { claim: claim.clone(), scope })
    }

    /// The permission as the token writes it.
    pub fn claim(&self) -> &PermissionClaim {
        &self.claim
    }

    /// Whether the permission is for this action on this object.
    pub fn permits(&self, action: Action, target: &Target<'_>) -> bool {
        if !self.claim.action.includes(action) {
            return false;
        }
        match (&self.scope, target) {
            (Scope::Path(pattern), Target::Path(path)) => pattern.matches(path),
            (Scope::Endpoint { host, port }, Target::Endpoint { host: wanted, port: wanted_port }) => {
                port.is_none_or(|p| p == *wanted_port) && host.matches(wanted)
            }
            (Scope::Host(host), Target::Host(wanted)) => host.matches(wanted),
            (
                Scope::Request { host, port, method, path },
                Target::Request { host: wanted, port: wanted_port, method: wanted_method, path: wanted_path },
            ) => {
                port.is_none_or(|p| p == *wanted_port)
                    && host.matches(wanted)
                    && method.as_ref().is_none_or(|method| method == wanted_method)
                    && path.as_ref().is_none_or(|path| path.matches(wanted_path))
            }
            (Scope::Port(port), Target::Port(wanted)) => port == wanted,
            (Scope::Key(key), Target::Key(wanted)) => key.matches(wanted.as_bytes()),
            (Scope::Tool(tool), Target::Tool(wanted)) => tool.matches(wanted.as_bytes()),
            (Scope::Plugin { name, tool }, Target::Plugin { name: wanted, tool: wanted_tool }) => {
                name.matches(wanted.as_bytes())
                    && tool
                        .as_ref()
                        .is_none_or(|tool| wanted_tool.is_some_and(|wanted| tool.matches(wanted.as_bytes())))
            }
            (Scope::Nothing, Target::Nothing) => true,
            _ => false,
        }
    }

    /// Whether `self` permits everything that `other` permits. Sound; where it cannot tell, it says no.
    pub fn covers(&self, other: &Self) -> bool {
        if !self.claim.action.includes(other.claim.action) {
            return false;
        }
        match (&self.scope, &other.scope) {
            (Scope::Path(wide), Scope::Path(narrow)) => wide.covers(narrow),
            (Scope::Endpoint { host, port }, Scope::Endpoint { host: narrow, port: narrow_port }) => {
                (port.is_none() || port == narrow_port) && host.covers(narrow)
            }
            (Scope::Host(host), Scope::Host(narrow)) => host.covers(narrow),
            (
                Scope::Request { host, port, method, path },
                Scope::Request { host: narrow, port: narrow_port, method: narrow_method, path: narrow_path },
            ) => {
                (port.is_none() || port == narrow_port)
                    && host.covers(narrow)
                    && (method.is_none() || method == narrow_method)
                    && within(path.as_ref(), narrow_path.as_ref(), PathPattern::covers)
            }
            (Scope::Port(port), Scope::Port(narrow)) => port == narrow,
            (Scope::Key(wide), Scope::Key(narrow)) | (Scope::Tool(wide), Scope::Tool(narrow)) => {
                wide.covers(narrow)
            }
            (Scope::Plugin { name, tool }, Scope::Plugin { name: narrow, tool: narrow_tool }) => {
                name.covers(narrow) && within(tool.as_ref(), narrow_tool.as_ref(), Segment::covers)
            }
            (Scope::Nothing, Scope::Nothing) => true,
            _ => false,
        }
    }
}

/// An absent bound is no bound: only it covers an absent one.
fn within<T>(wide: Option<&T>, narrow: Option<&T>, covers: impl Fn(&T, &T) -> bool) -> bool {
    match (wide, narrow) {
        (None, _) => true,
        (Some(wide), Some(narrow)) => covers(wide, narrow),
        (Some(_), None) => false,
    }
}

/// A host, `*.suffix` for every name below the suffix (not the suffix itself), or `*` for every host.
#[derive(Debug, Clone, PartialEq, Eq)]
enum HostPattern {
    Any,
    Exact(String),
    /// With its leading dot.
    Below(String),
}

impl HostPattern {
    fn parse(text: &str) -> Result<Self, Rejection> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let (host, below) = match text.strip_prefix("*.") {
            Some(suffix) => (suffix, true),
            None => (text, false),
        };
        if !is_canonical_host(host) || (below && host.parse::<std::net::IpAddr>().is_ok()) {
            return Err(Rejection::Malformed("a host is not a canonical name or address"));
        }
        Ok(if below { Self::Below(format!(".{host}")) } else { Self::Exact(host.to_owned()) })
    }

    fn matches(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => exact == host,
            Self::Below(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (_, Self::Any) => false,
            (_, Self::Exact(host)) => self.matches(host),
            (Self::Below(wide), Self::Below(narrow)) => narrow.ends_with(wide.as_str()),
            (Self::Exact(_), Self::Below(_)) => false,
        }
    }
}

/// Lower-case letters, digits, `-` and `_` in labels of 1 to 63, at most 253 in all, no trailing dot; or an address in
/// its canonical spelling, so that two spellings of one host never meet a pattern.
fn is_canonical_host(host: &str) -> bool {
    if let Ok(address) = host.parse::<std::net::IpAddr>() {
        return address.to_string() == host;
    }
    let labels_ok = host.len() <= 253
        && host.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
        });
    // 127.1 and 0x7f.1 are addresses to some resolvers: a last label that begins with a digit is no host name.
    labels_ok && !host.rsplit('.').next().is_some_and(|label| label.starts_with(|c: char| c.is_ascii_digit()))
}

/// As a file's name, but that `/a/` is another resource than `/a` (RFC 3986, section 6.2.2).
fn is_normalised_in_url(path: &str) -> bool {
    let without = path.strip_suffix('/').filter(|rest| !rest.is_empty() && *rest != "/");
    is_normalised(without.unwrap_or(path))
}

fn path_pattern(text: &str) -> Result<PathPattern, Rejection> {
    PathPattern::parse(text).map_err(|error| Rejection::Malformed(error.as_malformed()))
}

fn http_method(text: &str) -> Result<String, Rejection> {
    if (1..=16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_uppercase()) {
        Ok(text.to_owned())
    } else {
        Err(Rejection::Malformed("a method is written in capital letters"))
    }
}

fn name(text: &str) -> Result<Segment, Rejection> {
    if text.is_empty() || text.len() > limits::MAX_NAME_BYTES || text.chars().any(char::is_control) {
        return Err(Rejection::Malformed("a name is empty, too long or has control characters"));
    }
    Segment::parse(text).map_err(|error| Rejection::Malformed(error.as_malformed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(claim: PermissionClaim) -> Permission {
        Permission::compile(&claim).unwrap()
    }

    #[test]
    fn write_includes_append_and_append_does_not_include_write() {
        let write = compiled(PermissionClaim::path(Action::Write, "/w/*"));
        let append = compiled(PermissionClaim::path(Action::Append, "/w/*"));
        assert!(write.permits(Action::Append, &Target::Path("/w/a")));
        assert!(!append.permits(Action::Write, &Target::Path("/w/a")));
        assert!(write.covers(&append));
        assert!(!append.covers(&write));
    }

    #[test]
    fn an_endpoint_is_matched_by_host_and_port() {
        let api = compiled(PermissionClaim::connect("api.example.com", Some(443)));
        assert!(api.permits(Action::Connect, &Target::Endpoint { host: "api.example.com", port: 443 }));
        assert!(!api.permits(Action::Connect, &Target::Endpoint { host: "api.example.com", port: 80 }));
        assert!(!api.permits(Action::Connect, &Target::Endpoint { host: "evil.example.com", port: 443 }));
        assert!(!api.permits(Action::Connect, &Target::Host("api.example.com")));
        let below = compiled(PermissionClaim::connect("*.example.com", Some(443)));
        assert!(below.permits(Action::Connect, &Target::Endpoint { host: "a.b.example.com", port: 443 }));
        assert!(!below.permits(Action::Connect, &Target::Endpoint { host: "example.com", port: 443 }));
        assert!(!below.permits(Action::Connect, &Target::Endpoint { host: "badexample.com", port: 443 }));
        assert!(below.covers(&api));
        assert!(!api.covers(&below));
    }

    #[test]
    fn a_path_of_a_url_may_end_in_a_slash() {
        let target = |path| Target::Request { host: "a.example", port: 443, method: "GET", path };
        for (path, canonical) in [
            ("/", true),
            ("/a/", true),
            ("/a/b/", true),
            ("//", false),
            ("/a//", false),
            ("/a/../", false),
            ("", false),
            ("a/", false),
        ] {
            assert_eq!(target(path).is_canonical(), canonical, "{path}");
        }
        let claim = |path: &str| {
            compiled(PermissionClaim {
                path: Some(path.into()),
                ..PermissionClaim::request("a.example", None)
            })
        };
        let permits = |pattern, path| claim(pattern).permits(Action::Request, &target(path));
        assert!(permits("/a/*", "/a/") && permits("/a/**", "/a/") && permits("/a/**", "/a/b/"));
        assert!(!permits("/a", "/a/") && !permits("/a/*", "/a/b/") && !permits("/a/**", "/a"));
    }

    #[test]
    fn every_host_or_port_covers_one_and_not_the_other_way_round() {
        let all = compiled(PermissionClaim::connect("*", None));
        let api = compiled(PermissionClaim::connect("api.example.com", Some(443)));
        assert!(all.permits(Action::Connect, &Target::Endpoint { host: "a.example", port: 22 }));
        assert!(all.permits(Action::Connect, &Target::Endpoint { host: "192.0.2.1", port: 22 }));
        assert!(all.covers(&api) && !api.covers(&all));
        let some = compiled(PermissionClaim::connect("api.example.com", None));
        assert!(some.covers(&api) && !api.covers(&some) && all.covers(&some));
    }

    #[test]
    fn odd_spellings_of_a_host_are_not_canonical() {
        for host in [
            "API.example.com",
            "example.com.",
            "127.1",
            "0x7f.1",
            "2130706433",
            "a..b",
            "",
            "[::1]",
            "::0001",
            "-a.b",
            "a b",
        ] {
            assert!(!is_canonical_host(host), "{host}");
        }
        for host in ["127.0.0.1", "::1", "example.com", "xn--bcher-kva.example", "localhost"] {
            assert!(is_canonical_host(host), "{host}");
        }
    }

    #[test]
    fn members_that_do_not_belong_to_the_action_are_refused() {
        let mut claim = PermissionClaim::path(Action::Read, "/a");
        claim.port = Some(1);
        assert!(Permission::compile(&claim).is_err());
        assert!(Permission::compile(&PermissionClaim::path(Action::Connect, "/a")).is_err());
        assert!(
            Permission::compile(&PermissionClaim { host: None, ..PermissionClaim::connect("a.b", Some(1)) })
                .is_err()
        );
        assert!(Permission::compile(&PermissionClaim::tool("a\u{7}b")).is_err());
    }

    #[test]
    fn a_plugin_bound_to_one_tool_does_not_cover_the_whole_plugin() {
        let whole = compiled(PermissionClaim::plugin("csv"));
        let one = compiled(PermissionClaim { tool: Some("parse".into()), ..PermissionClaim::plugin("csv") });
        assert!(whole.covers(&one) && !one.covers(&whole));
        assert!(one.permits(Action::Plugin, &Target::Plugin { name: "csv", tool: Some("parse") }));
        assert!(!one.permits(Action::Plugin, &Target::Plugin { name: "csv", tool: None }));
    }
}
