//! One rule of what a session may reach, as a profile writes it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::address::{self, Class, class};
use crate::host::{Host, HostError};
use crate::path::{PathError, PathGlob};

/// One entry of `[network] allow`. What cannot be meant is refused when it is read, so a rule holds what it promises.
///
/// ```toml
/// { host = "api.example.com", ports = [443], methods = ["GET"], paths = ["/v1/*"], inspect = true }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "RawRule", into = "RawRule")]
pub struct Rule {
    host: HostPattern,
    ports: Vec<u16>,
    methods: Vec<String>,
    paths: Vec<PathGlob>,
    /// Bodies are inspected, so TLS ends at the broker.
    pub inspect: bool,
    /// TLS is never opened: nothing but the host and the amount is known. Excludes all that needs to see a request.
    pub pass_through: bool,
    /// The server speaks a protocol that is no HTTP, whatever its lines look like: they are carried as they are, counted and not
    /// seen. For one host and the ports that are named, which are not those of the web.
    pub tcp: bool,
    /// Bytes that may be sent to this rule's hosts in a session; the session's own limit when absent.
    pub upload_bytes: Option<u64>,
    /// Bytes that one answer may have; only where requests are seen.
    pub download_bytes: Option<u64>,
    /// The handle of a credential that the broker adds to each request.
    pub inject: Option<String>,
    /// Who made the rule: a profile, a policy, a plugin, an approval. Set by whoever loads it, never read from the text.
    pub source: String,
}

/// Which hosts a rule is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This name alone.
    Name(String),
    /// `*.name`: every name below it at any depth, not the name itself.
    Below(String),
    /// An address, or a network by its first address and the length of its prefix.
    Network(IpAddr, u8),
}

/// Why a rule was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    #[error("the host of a rule cannot be used: {0}")]
    Host(#[from] HostError),
    #[error(
        "a host is a name or an address, perhaps with a port, as in api.example.com:8443: without a scheme, and without a path"
    )]
    Address,
    #[error("a wildcard stands at the start of a host, as in *.example.com")]
    Wildcard,
    #[error("a wildcard below a public suffix such as *.com allows everybody's hosts")]
    PublicSuffix,
    #[error("a network is an address and the length of its prefix, without bits behind the prefix")]
    Network,
    #[error("a port is a number from 1 to 65535")]
    Port,
    #[error("a method is one word of upper-case letters and hyphens, and neither CONNECT nor TRACE")]
    Method,
    #[error("a path of a rule cannot be used: {0}")]
    Path(#[from] PathError),
    #[error("what is passed through unopened can be neither inspected nor told apart by method or path")]
    PassThrough,
    #[error(
        "plain TCP is for one host and named ports other than 80 and 443, and excludes all that needs to see a request"
    )]
    Tcp,
    #[error("a list of a rule has more than {MAX_LIST} entries")]
    TooMany,
}

/// What one list of one rule may hold; the work for a request grows with it.
pub const MAX_LIST: usize = 256;

impl Rule {
    /// A rule of nothing but a host: ports 80 and 443, all methods and paths.
    pub fn of_host(host: &str) -> Result<Self, RuleError> {
        RawRule { host: host.to_owned(), ..RawRule::default() }.try_into()
    }

    /// `host`, `host:port` or `tcp://host:port`, as on a command line; an IPv6 address with a port stands in brackets.
    pub fn of_text(text: &str) -> Result<Self, RuleError> {
        let (text, tcp) = text.strip_prefix("tcp://").map_or((text, false), |rest| (rest, true));
        if text.contains("://") || text.split_once('/').is_some_and(|(host, _)| !is_address(host)) {
            return Err(RuleError::Address);
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
            _ => (text, None),
        };
        let ports = match port {
            Some(port) => vec![port.parse().map_err(|_| RuleError::Port)?],
            None => Vec::new(),
        };
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        RawRule { host: host.to_owned(), ports, tcp, ..RawRule::default() }.try_into()
    }

    /// The same rule for another host.
    #[must_use]
    pub fn for_host(&self, host: HostPattern) -> Self {
        Self { host, ..self.clone() }
    }

    pub fn host(&self) -> &HostPattern {
        &self.host
    }

    /// The ports that the rule is about; 80 and 443 unless it says otherwise.
    pub fn ports(&self) -> &[u16] {
        if self.ports.is_empty() { &[80, 443] } else { &self.ports }
    }

    pub fn has_port(&self, port: u16) -> bool {
        self.ports().contains(&port)
    }

    /// Whether the rule is about this method. Methods are told apart by letter case (RFC 9110, section 9.1); HEAD is GET without
    /// the content (section 9.3.2).
    pub fn has_method(&self, method: &str) -> bool {
        let is_named = |method: &str| self.methods.iter().any(|m| m == method);
        self.methods.is_empty() || is_named(method) || method == "HEAD" && is_named("GET")
    }

    /// Whether the rule was written for this very method.
    pub fn names_method(&self, method: &str) -> bool {
        self.methods.iter().any(|m| m == method)
    }

    /// Whether the rule is about this normalised path.
    pub fn has_path(&self, path: &str) -> bool {
        self.paths.is_empty() || self.paths.iter().any(|p| p.matches(path))
    }

    /// Whether the rule is for one host, and for ports that it names and that are not the web's.
    fn names_one_server(&self) -> bool {
        let is_one = match self.host {
            HostPattern::Name(_) => true,
            HostPattern::Below(_) => false,
            HostPattern::Network(ip, prefix) => HostPattern::last(ip, prefix) == ip,
        };
        is_one && !self.ports().iter().any(|port| matches!(port, 80 | 443))
    }

    /// In words, to what methods, paths and amounts it holds its hosts; nothing where to none.
    #[must_use]
    pub fn limits_in_words(&self) -> Option<String> {
        let mut words = Vec::new();
        if !self.methods.is_empty() {
            words.push(self.methods.join(" and "));
        }
        words.extend(self.paths.iter().map(|path| path.as_str().to_owned()));
        words.extend(self.upload_bytes.map(|bytes| format!("{bytes} bytes sent")));
        words.extend(self.download_bytes.map(|bytes| format!("answers of {bytes} bytes")));
        (!words.is_empty()).then(|| words.join(", "))
    }

    /// Whether the rule can be kept only by seeing the requests, so TLS has to end at the broker.
    pub fn needs_requests(&self) -> bool {
        self.inspect
            || !self.methods.is_empty()
            || !self.paths.is_empty()
            || self.inject.is_some()
            || self.download_bytes.is_some()
    }
}

/// Whether this is the address of a network, with brackets or without.
fn is_address(text: &str) -> bool {
    address::parse(text.trim_start_matches('[').trim_end_matches(']')).is_some()
}

impl HostPattern {
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        if let Some(parent) = text.strip_prefix("*.") {
            let Host::Name(name) = Host::parse(parent)? else { return Err(RuleError::Wildcard) };
            let suffix = psl::suffix(name.as_bytes());
            if suffix.is_some_and(|s| s.as_bytes() == name.as_bytes() && s.typ() == Some(psl::Type::Icann)) {
                return Err(RuleError::PublicSuffix);
            }
            return Ok(Self::Below(name));
        }
        if text.contains('*') {
            return Err(RuleError::Wildcard);
        }
        if let Some((ip, prefix)) = text.split_once('/') {
            let ip = address::parse(ip).ok_or(RuleError::Address)?;
            let digits = prefix.bytes().all(|b| b.is_ascii_digit());
            let prefix = prefix.parse().ok().filter(|_| digits).ok_or(RuleError::Network)?;
            // A mapped network would never match: hosts are canonical.
            let exact = Self::mask(ip, prefix) == Some(ip) && ip.to_canonical() == ip;
            return if exact { Ok(Self::Network(ip, prefix)) } else { Err(RuleError::Network) };
        }
        Ok(match Host::parse(text)? {
            Host::Name(name) => Self::Name(name),
            Host::Address(ip) => Self::Network(ip, if ip.is_ipv4() { 32 } else { 128 }),
        })
    }

    /// Whether these are addresses of a machine's own loopback.
    pub fn is_loopback(&self) -> bool {
        matches!(self, Self::Network(first, prefix) if first.is_loopback() && (first.is_ipv6() || *prefix >= 8))
    }

    /// Whether these are more addresses than a person can judge: more than 256 of IPv4, or more than one network of IPv6.
    pub fn is_wide(&self) -> bool {
        matches!(self, Self::Network(first, prefix) if *prefix < if first.is_ipv4() { 24 } else { 64 })
    }

    /// What the addresses reach that the text names: the first kind that is not public. What a name reaches is seen when it is
    /// resolved, but for those that every machine has for itself (RFC 6761).
    pub fn reaches(&self) -> Class {
        let (Self::Name(name) | Self::Below(name)) = self else {
            let Self::Network(first, prefix) = self else { return Class::Public };
            let ends = [*first, Self::last(*first, *prefix)].map(class);
            return ends.into_iter().find(|kind| !kind.is_public()).unwrap_or(Class::Public);
        };
        match name == "localhost" || name.ends_with(".localhost") {
            true => Class::Loopback,
            false => Class::Public,
        }
    }

    /// Whether the host is one of these.
    pub fn matches(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Name(pattern), Host::Name(name)) => pattern == name,
            (Self::Below(parent), Host::Name(name)) => {
                name.strip_suffix(parent.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            (Self::Network(network, prefix), Host::Address(ip)) => Self::mask(*ip, *prefix) == Some(*network),
            _ => false,
        }
    }

    /// The last address of a network; `first` has no bits behind the prefix.
    pub(crate) fn last(first: IpAddr, prefix: u8) -> IpAddr {
        match first {
            IpAddr::V4(v4) => {
                Ipv4Addr::from_bits(v4.to_bits() | u32::MAX.checked_shr(prefix.into()).unwrap_or(0)).into()
            }
            IpAddr::V6(v6) => {
                Ipv6Addr::from_bits(v6.to_bits() | u128::MAX.checked_shr(prefix.into()).unwrap_or(0)).into()
            }
        }
    }

    /// The first address of the network of `ip`, unless the prefix is longer than the address. Families do not mix: the
    /// result is of the same family, which no network of the other equals.
    pub(crate) fn mask(ip: IpAddr, prefix: u8) -> Option<IpAddr> {
        match ip {
            IpAddr::V4(v4) => {
                let free = 32u32.checked_sub(u32::from(prefix))?;
                let mask = u32::MAX.checked_shl(free).unwrap_or(0);
                Some(Ipv4Addr::from_bits(v4.to_bits() & mask).into())
            }
            IpAddr::V6(v6) => {
                let free = 128u32.checked_sub(u32::from(prefix))?;
                let mask = u128::MAX.checked_shl(free).unwrap_or(0);
                Some(Ipv6Addr::from_bits(v6.to_bits() & mask).into())
            }
        }
    }
}

impl FromStr for HostPattern {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        Self::parse(text)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Below(name) => write!(f, "*.{name}"),
            Self::Network(ip, 32) if ip.is_ipv4() => ip.fmt(f),
            Self::Network(ip, 128) => ip.fmt(f),
            Self::Network(ip, prefix) => write!(f, "{ip}/{prefix}"),
        }
    }
}

/// The rule as it is written.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    host: String,
    #[serde(default)]
    ports: Vec<u16>,
    #[serde(default)]
    methods: Vec<String>,
    #[serde(default)]
    paths: Vec<String>,
    #[serde(default)]
    inspect: bool,
    #[serde(default)]
    pass_through: bool,
    #[serde(default)]
    tcp: bool,
    #[serde(default)]
    upload_bytes: Option<u64>,
    #[serde(default)]
    download_bytes: Option<u64>,
    #[serde(default)]
    inject: Option<String>,
}

impl From<Rule> for RawRule {
    fn from(rule: Rule) -> Self {
        Self {
            host: rule.host.to_string(),
            paths: rule.paths.iter().map(|p| p.as_str().to_owned()).collect(),
            ports: rule.ports,
            methods: rule.methods,
            inspect: rule.inspect,
            pass_through: rule.pass_through,
            tcp: rule.tcp,
            upload_bytes: rule.upload_bytes,
            download_bytes: rule.download_bytes,
            inject: rule.inject,
        }
    }
}

impl TryFrom<RawRule> for Rule {
    type Error = RuleError;

    fn try_from(raw: RawRule) -> Result<Self, RuleError> {
        if [raw.ports.len(), raw.methods.len(), raw.paths.len()].iter().any(|n| *n > MAX_LIST) {
            return Err(RuleError::TooMany);
        }
        if raw.ports.contains(&0) {
            return Err(RuleError::Port);
        }
        let word = |m: &String| !m.is_empty() && m.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
        if raw.methods.iter().any(|m| !word(m) || matches!(m.as_str(), "CONNECT" | "TRACE" | "TRACK")) {
            return Err(RuleError::Method);
        }
        let rule = Self {
            host: HostPattern::parse(&raw.host)?,
            ports: raw.ports,
            methods: raw.methods,
            paths: raw.paths.iter().map(|p| PathGlob::parse(p)).collect::<Result<_, _>>()?,
            inspect: raw.inspect,
            pass_through: raw.pass_through,
            tcp: raw.tcp,
            upload_bytes: raw.upload_bytes,
            download_bytes: raw.download_bytes,
            inject: raw.inject,
            source: String::new(),
        };
        if rule.pass_through && rule.needs_requests() {
            return Err(RuleError::PassThrough);
        }
        if rule.tcp && (rule.needs_requests() || rule.pass_through || !rule.names_one_server()) {
            return Err(RuleError::Tcp);
        }
        Ok(rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str) -> Result<Rule, String> {
        toml::from_str(toml).map_err(|e| e.message().to_owned())
    }

    #[test]
    fn a_rule_of_the_contract_is_read() {
        let rule = read(
            "host = \"api.example.com\"\nports = [443]\nmethods = [\"GET\"]\npaths = [\"/v1/*\"]\n\
             inspect = true\ninject = \"key-handle\"\nupload_bytes = 1000",
        )
        .unwrap();
        assert_eq!(rule.host().to_string(), "api.example.com");
        assert!(rule.has_port(443) && !rule.has_port(80));
        assert!(rule.needs_requests() && rule.inspect && !rule.pass_through);
        assert!(["GET", "HEAD"].iter().all(|method| rule.has_method(method)) && !rule.has_method("POST"));
        assert_eq!((rule.upload_bytes, rule.inject.as_deref()), (Some(1000), Some("key-handle")));
        assert!(!Rule::of_host("*.example.com").unwrap().needs_requests());
    }

    #[test]
    fn a_rule_is_read_from_a_command_line() {
        let read = |text| Rule::of_text(text).map(|r| (r.host().to_string(), r.ports().to_vec()));
        assert_eq!(read("a.example"), Ok(("a.example".into(), vec![80, 443])));
        assert_eq!(read("*.a.example:8443"), Ok(("*.a.example".into(), vec![8443])));
        assert_eq!(read("10.1.0.0/16:22"), Ok(("10.1.0.0/16".into(), vec![22])));
        assert_eq!(read("[fd00::1]:80"), Ok(("fd00::1".into(), vec![80])));
        assert_eq!(read("fd00::1"), Ok(("fd00::1".into(), vec![80, 443])));
        for (text, error) in [
            ("a.example:0", RuleError::Port),
            ("a.example:http", RuleError::Port),
            ("a.example:", RuleError::Port),
            ("https://a.example", RuleError::Address),
            ("http://localhost:11434", RuleError::Address),
            ("api.example.com:8443/v1", RuleError::Address),
            ("tcp://a.example:6379/0", RuleError::Address),
        ] {
            assert_eq!(read(text), Err(error), "{text}");
        }
        assert_eq!(read("fd00::/16"), Ok(("fd00::/16".into(), vec![80, 443])));
        assert!(read("").is_err());
        let tcp = |text| Rule::of_text(text).map(|r| (r.host().to_string(), r.ports().to_vec(), r.tcp));
        assert_eq!(tcp("tcp://a.example:6379"), Ok(("a.example".into(), vec![6379], true)));
        assert_eq!(tcp("tcp://[fd00::1]:22"), Ok(("fd00::1".into(), vec![22], true)));
        assert_eq!(tcp("tcp:6379"), Ok(("tcp".into(), vec![6379], false)));
        for text in [
            "tcp://a.example",
            "tcp://a.example:80",
            "tcp://a.example:443",
            "tcp://*.a.example:1",
            "tcp://10.0.0.0/8:1",
        ] {
            assert_eq!(tcp(text), Err(RuleError::Tcp), "{text}");
        }
    }

    #[test]
    fn what_a_pattern_reaches_is_seen_from_its_text() {
        for (text, wide, reaches) in [
            ("0.0.0.0/0", true, Class::ThisHost),
            ("8.0.0.0/7", true, Class::Public),
            ("::/0", true, Class::ThisHost),
            ("2606:4700::/32", true, Class::Public),
            ("8.8.8.0/24", false, Class::Public),
            ("2606:4700:1:2::/64", false, Class::Public),
            ("8.8.8.8", false, Class::Public),
            ("127.0.0.1", false, Class::Loopback),
            ("0x7f000001", false, Class::Loopback),
            ("::1", false, Class::Loopback),
            ("10.1.2.0/24", false, Class::Private),
            ("169.254.169.254", false, Class::Metadata),
            ("localhost", false, Class::Loopback),
            ("*.localhost", false, Class::Loopback),
            ("a.example", false, Class::Public),
            ("*.a.example", false, Class::Public),
        ] {
            let pattern = HostPattern::parse(text).unwrap();
            assert_eq!((pattern.is_wide(), pattern.reaches()), (wide, reaches), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (toml, error) in [
            ("host = \"\"", RuleError::Host(HostError::Empty)),
            ("host = \"*\"", RuleError::Wildcard),
            ("host = \"a*.example.com\"", RuleError::Wildcard),
            ("host = \"a.*.example.com\"", RuleError::Wildcard),
            ("host = \"*.127.0.0.1\"", RuleError::Wildcard),
            ("host = \"*.com\"", RuleError::PublicSuffix),
            ("host = \"*.co.uk\"", RuleError::PublicSuffix),
            ("host = \"*.\"", RuleError::Host(HostError::Empty)),
            ("host = \"https://a.example\"", RuleError::Address),
            ("host = \"a.example/v1\"", RuleError::Address),
            ("host = \"a.example:443\"", RuleError::Host(HostError::NotIpv6)),
            ("host = \"10.0.0.1/8\"", RuleError::Network),
            ("host = \"10.0.0.0/33\"", RuleError::Network),
            ("host = \"10.0.0.0/\"", RuleError::Network),
            ("host = \"10.0.0.0/+8\"", RuleError::Network),
            ("host = \"::ffff:10.0.0.0/104\"", RuleError::Network),
            ("host = \"a.example\"\nports = [0]", RuleError::Port),
            ("host = \"a.example\"\nmethods = [\"get\"]", RuleError::Method),
            ("host = \"a.example\"\nmethods = [\"CONNECT\"]", RuleError::Method),
            ("host = \"a.example\"\npaths = [\"v1\"]", RuleError::Path(PathError::NotAbsolute)),
            ("host = \"a.example\"\npass_through = true\ninspect = true", RuleError::PassThrough),
            ("host = \"a.example\"\nports = [1]\ntcp = true\nmethods = [\"GET\"]", RuleError::Tcp),
            ("host = \"a.example\"\nports = [1]\ntcp = true\npass_through = true", RuleError::Tcp),
            ("host = \"a.example\"\npass_through = true\npaths = [\"/a\"]", RuleError::PassThrough),
        ] {
            assert_eq!(read(toml), Err(error.to_string()), "{toml}");
        }
        assert!(read("host = \"a.example\"\nsource = \"policy\"").unwrap_err().contains("unknown field"));
        assert!(read("host = \"a.example\"\nhosts = []").unwrap_err().contains("unknown field"));
        assert!(read("host = \"0.0.0.0/0\"").is_ok() && read("host = \"::/0\"").is_ok());
    }
}
