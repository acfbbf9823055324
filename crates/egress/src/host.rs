//! Host names in one spelling.
//!
//! Rules, the certificate, SNI, `Host` and the resolver must mean the same host when they say the same text. So every
//! name that comes in is brought to one form here, or refused; what looks like an address is one.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::address::{self, Class};

/// A host in its canonical form. Make one with [`Host::parse`]; nothing else brings a text to that form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// Lower case A-labels (RFC 5890) of letters, digits, hyphens and underscores, at most 63 bytes each and 253 together,
    /// without a dot at the end.
    Name(String),
    /// IPv4-mapped addresses are IPv4 here, as they are to the kernel.
    Address(IpAddr),
}

/// Why a text names no host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum HostError {
    #[error("the host is empty")]
    Empty,
    #[error("the host is longer than {MAX_NAME_BYTES} bytes")]
    TooLong,
    #[error("a label of the host is empty or longer than {MAX_LABEL_BYTES} bytes")]
    Label,
    #[error("the host has a character that host names do not have")]
    Character,
    #[error("the host is not a valid internationalised name")]
    NotIdna,
    #[error("the host ends in a number and is no IPv4 address")]
    Number,
    #[error("the host has brackets or colons and is no IPv6 address")]
    NotIpv6,
}

/// RFC 1035, section 2.3.4, less the length bytes.
pub const MAX_NAME_BYTES: usize = 253;
pub const MAX_LABEL_BYTES: usize = 63;

impl Host {
    /// The canonical form of `text`: A-labels by UTS 46 as browsers make them, lower case, one dot at the end removed.
    /// Refuses whatever is not letters, digits, hyphens and underscores by then: control characters, white space,
    /// percent-encoding, user information, backslashes.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        if text.is_empty() {
            return Err(HostError::Empty);
        }
        // Four bytes of UTF-8 a character is the most that a name in range can have; the mapping costs by length.
        if text.len() > 4 * MAX_NAME_BYTES {
            return Err(HostError::TooLong);
        }
        let ascii = Uts46::new()
            .to_ascii(text.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore)
            .map_err(|_| HostError::NotIdna)?;
        if let Some(ip) = address::parse(&ascii) {
            return Ok(Self::Address(ip.to_canonical()));
        }
        if ascii.bytes().any(|b| matches!(b, b':' | b'[' | b']')) {
            return Err(HostError::NotIpv6);
        }
        let name = ascii.strip_suffix('.').unwrap_or(&ascii);
        check_name(name)?;
        Ok(Self::Name(name.to_owned()))
    }

    /// The name, when it is one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            Self::Address(_) => None,
        }
    }

    /// The class of a literal address; a name has one only when it was resolved.
    pub fn class(&self) -> Option<Class> {
        match self {
            Self::Name(_) => None,
            Self::Address(ip) => Some(address::class(*ip)),
        }
    }
}

fn check_name(name: &str) -> Result<(), HostError> {
    if name.is_empty() {
        return Err(HostError::Empty);
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(HostError::TooLong);
    }
    if !name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.')) {
        return Err(HostError::Character);
    }
    for label in name.split('.') {
        if label.is_empty() || label.len() > MAX_LABEL_BYTES {
            return Err(HostError::Label);
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(HostError::Character);
        }
    }
    // Some resolver or library would take it for an address, and not all for the same one.
    if name.rsplit('.').next().is_some_and(address::looks_numeric) {
        return Err(HostError::Number);
    }
    Ok(())
}

impl fmt::Display for Host {
    /// As in a URL: IPv6 in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(ip)) => ip.fmt(f),
            Self::Address(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        Self::parse(text)
    }
}

impl Serialize for Host {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Host {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> String {
        Host::parse(text).unwrap().name().unwrap().to_owned()
    }

    #[test]
    fn one_host_has_one_spelling() {
        for (text, canonical) in [
            ("Example.COM", "example.com"),
            ("example.com.", "example.com"),
            ("_acme-challenge.example.com", "_acme-challenge.example.com"),
            ("r3---sn-4g5e6nz7.googlevideo.com", "r3---sn-4g5e6nz7.googlevideo.com"),
            ("Bücher.example", "xn--bcher-kva.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("example。com", "example.com"),
            ("ｅｘａｍｐｌｅ.com", "example.com"),
            ("exa\u{ad}mple.com", "example.com"),
            ("exam\u{200b}ple.com", "example.com"),
            ("localhost", "localhost"),
            ("1e100.net", "1e100.net"),
            ("123.example", "123.example"),
            ("faß.de", "xn--fa-hia.de"),
        ] {
            assert_eq!(name(text), canonical, "{text}");
        }
        // A Cyrillic letter makes another host, visibly.
        assert_eq!(name("ex\u{430}mple.com"), "xn--exmple-4nf.com");
    }

    #[test]
    fn addresses_are_addresses() {
        for text in ["127.1", "0x7f000001", "[::ffff:127.0.0.1]", "１２７.1", "2130706433", "127.0.0.1."] {
            assert_eq!(Host::parse(text).unwrap().class(), Some(Class::Loopback), "{text}");
        }
        assert_eq!(Host::parse("[::1]").unwrap().to_string(), "[::1]");
    }

    #[test]
    fn what_names_no_host_is_refused() {
        for (text, error) in [
            ("", HostError::Empty),
            (".", HostError::Empty),
            ("..", HostError::Label),
            ("a..b", HostError::Label),
            (".example.com", HostError::Label),
            ("example.com..", HostError::Label),
            ("a b.com", HostError::Character),
            ("a\0.example.com", HostError::Character),
            ("evil.com\0.example.com", HostError::Character),
            ("evil.com\r\nhost", HostError::Character),
            ("evil.com\t", HostError::Character),
            ("user@evil.com", HostError::Character),
            ("evil.com\\.example.com", HostError::Character),
            ("evil.com/.example.com", HostError::Character),
            ("evil.com#.example.com", HostError::Character),
            ("evil.com?.example.com", HostError::Character),
            ("ev%69l.com", HostError::Character),
            ("evil％00.com", HostError::Character),
            ("evil.com℀.example.com", HostError::Character),
            ("*.example.com", HostError::Character),
            ("-a.example.com", HostError::Character),
            ("a-.example.com", HostError::Character),
            ("example.com:443", HostError::NotIpv6),
            ("[::1", HostError::NotIpv6),
            ("[fe80::1%eth0]", HostError::NotIpv6),
            ("1.2.3.4.5", HostError::Number),
            ("256.256.256.256", HostError::Number),
            ("08.0.0.1", HostError::Number),
            ("example.0x7f", HostError::Number),
            ("foo.123", HostError::Number),
            ("xn--a", HostError::NotIdna),
            ("xn--.com", HostError::NotIdna),
        ] {
            assert_eq!(Host::parse(text), Err(error), "{text:?}");
        }
        assert!(Host::parse(&"a".repeat(63)).is_ok());
        assert_eq!(Host::parse(&"a".repeat(64)), Err(HostError::Label));
        assert_eq!(Host::parse(&format!("{}com", "a.".repeat(126))), Err(HostError::TooLong));
        assert_eq!(Host::parse(&"a".repeat(100_000)), Err(HostError::TooLong));
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_its_own(text in "\\PC{0,40}") {
            if let Ok(host) = Host::parse(&text) {
                prop_assert_eq!(Host::parse(&host.to_string()), Ok(host));
            }
        }

        #[test]
        fn names_of_ascii_do_not_change_but_for_case(text in "[a-zA-Z][a-zA-Z0-9]{0,10}(\\.[a-zA-Z][a-zA-Z0-9]{0,10}){0,4}") {
            if let Ok(host) = Host::parse(&text) {
                prop_assert_eq!(host, Host::Name(text.to_ascii_lowercase()));
            } else {
                prop_assert!(text.to_ascii_lowercase().contains("0x"));
            }
        }
    }
}
