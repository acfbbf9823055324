//! What an address reaches, and every spelling of one.
//!
//! A program that may talk to the Internet may not talk to the machine it runs on, to the network around it or to the
//! service that hands out the machine's credentials. [`class`] tells these apart, also when an IPv4 address hides in an
//! IPv6 one; [`parse`] reads what a URL parser or `inet_aton` would take as an address, so that none passes as a name.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

/// What an address reaches (IANA special-purpose registries, RFC 6890 and its updates).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// A host of the Internet.
    Public,
    /// `0.0.0.0/8`, `::`: connecting there reaches this machine.
    ThisHost,
    Loopback,
    /// RFC 1918, unique local (RFC 4193) and the site-local addresses of old.
    Private,
    /// `100.64.0.0/10`, between a provider and its customers (RFC 6598); overlay networks live here too.
    Shared,
    LinkLocal,
    /// A cloud's service that describes a machine, often with its credentials.
    Metadata,
    Multicast,
    Broadcast,
    Documentation,
    /// Laboratories only (RFC 2544, RFC 5180).
    Benchmark,
    /// Assigned to something else than hosts, or to nobody yet.
    Reserved,
}

impl Class {
    /// The stable, snake_case name that logs and policies see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::ThisHost => "this_host",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::Shared => "shared",
            Self::LinkLocal => "link_local",
            Self::Metadata => "metadata",
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
            Self::Documentation => "documentation",
            Self::Benchmark => "benchmark",
            Self::Reserved => "reserved",
        }
    }

    pub fn is_public(self) -> bool {
        self == Self::Public
    }
}

/// What `ip` reaches. An IPv4 address inside an IPv6 one (mapped, compatible, NAT64, 6to4, Teredo, ISATAP) decides when it
/// is special; a tunnel that leads to a public address is `Reserved`, but for mapped addresses and the well-known NAT64
/// prefix, which a kernel and a provider's network really translate.
pub fn class(ip: IpAddr) -> Class {
    match ip {
        IpAddr::V4(v4) => class_v4(v4),
        IpAddr::V6(v6) => class_v6(v6),
    }
}

/// The address that a URL parser or `inet_aton` would take `text` for: decimal, hexadecimal and octal parts, one to four of
/// them, IPv6 with or without brackets, digits and full stops of other scripts. Nothing for a name, and nothing for what
/// only looks like an address; `Host::parse` refuses that. A zone (`fe80::1%eth0`) and percent-encoding are refused.
pub fn parse(text: &str) -> Option<IpAddr> {
    if text.len() > MAX_TEXT_BYTES {
        return None;
    }
    let ascii = if text.is_ascii() { Cow::Borrowed(text.as_bytes()) } else { to_ascii(text)? };
    let text = std::str::from_utf8(&ascii).ok()?;
    let inner = match text.strip_prefix('[') {
        Some(rest) => Some(rest.strip_suffix(']')?),
        None => text.contains(':').then_some(text),
    };
    match inner {
        Some(v6) => v6.parse().ok().map(IpAddr::V6),
        None => parse_v4(text).map(IpAddr::V4),
    }
}

/// Whether a host that ends in this label is an address or nothing (WHATWG URL, "ends in a number").
pub(crate) fn looks_numeric(label: &str) -> bool {
    !label.is_empty() && label.bytes().all(|b| b.is_ascii_digit())
        || label
            .strip_prefix("0x")
            .or_else(|| label.strip_prefix("0X"))
            .is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Where clouds describe their machines: AWS (instance, containers, EKS, resolver, clock), Alibaba, Azure, Oracle, Scaleway.
const METADATA_V4: &[Ipv4Addr] = &[
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 169, 253),
    Ipv4Addr::new(169, 254, 169, 123),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
    Ipv4Addr::new(169, 254, 42, 42),
];

/// The same over IPv6: AWS (instance, EKS, resolver, clock), Google, Scaleway.
const METADATA_V6: &[Ipv6Addr] = &[
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x253),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x123),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
];

/// Longer texts are no address in any notation; it bounds the work of normalising one.
const MAX_TEXT_BYTES: usize = 1024;

fn class_v4(ip: Ipv4Addr) -> Class {
    if METADATA_V4.contains(&ip) {
        return Class::Metadata;
    }
    match ip.octets() {
        [0, ..] => Class::ThisHost,
        [127, ..] => Class::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Class::Private,
        [100, 64..=127, ..] => Class::Shared,
        [169, 254, ..] => Class::LinkLocal,
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] | [233, 252, 0, _] => Class::Documentation,
        // RFC 6890 protocol assignments; the anycast of 6to4 relays (RFC 7526), AS112 and AMT.
        [192, 0, 0, _] | [192, 88, 99, _] | [192, 31, 196, _] | [192, 52, 193, _] | [192, 175, 48, _] => {
            Class::Reserved
        }
        [198, 18..=19, ..] => Class::Benchmark,
        [224..=239, ..] => Class::Multicast,
        [255, 255, 255, 255] => Class::Broadcast,
        [240..=255, ..] => Class::Reserved,
        _ => Class::Public,
    }
}

fn class_v6(ip: Ipv6Addr) -> Class {
    if METADATA_V6.contains(&ip) {
        return Class::Metadata;
    }
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let last = v4(g, h);
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0] if g == 0 && h == 0 => Class::ThisHost,
        [0, 0, 0, 0, 0, 0] if g == 0 && h == 1 => Class::Loopback,
        [0, 0, 0, 0, 0, 0] => tunnelled([last]),
        [0, 0, 0, 0, 0, 0xffff] => class_v4(last),
        // IPv4-translated (RFC 2765).
        [0, 0, 0, 0, 0xffff, 0] => tunnelled([last]),
        [0x64, 0xff9b, 0, 0, 0, 0] => class_v4(last),
        // Local NAT64 (RFC 8215): the length of its prefix is the network's own choice, so all places of RFC 6052 are seen.
        [0x64, 0xff9b, 1, ..] => match tunnelled([
            last,
            v4(d, e << 8 | f >> 8),
            v4(d << 8 | e & 0xff, f),
            v4(e << 8 | f >> 8, f << 8 | g >> 8),
        ]) {
            Class::Reserved => Class::Private,
            special => special,
        },
        [0x2002, ..] => tunnelled([v4(b, c)]),
        [0x2001, 0, ..] => tunnelled([v4(!g, !h), v4(c, d)]),
        [0x2001, 2, 0, ..] => Class::Benchmark,
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Class::Documentation,
        // The rest of the protocol assignments: ORCHID, AMT, AS112.
        [0x2001, 0..=0x1ff, ..] | [0x2620, 0x4f, 0x8000, ..] => Class::Reserved,
        [0xfe80..=0xfebf, ..] => Class::LinkLocal,
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Class::Private,
        [0xff00..=0xffff, ..] => Class::Multicast,
        // ISATAP (RFC 5214) hides an IPv4 address behind any prefix.
        [0x2000..=0x3fff, _, _, _, 0 | 0x200, 0x5efe] => tunnelled([last]),
        [0x2000..=0x3fff, ..] => Class::Public,
        _ => Class::Reserved,
    }
}

fn v4(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

/// The first special class behind a tunnel. A tunnel to a public address has no business here either.
fn tunnelled<const N: usize>(inner: [Ipv4Addr; N]) -> Class {
    let classes = inner.map(class_v4);
    let most = [Class::Metadata, Class::Loopback, Class::Private, Class::LinkLocal, Class::Shared];
    most.into_iter()
        .find(|c| classes.contains(c))
        .or_else(|| classes.first().copied().filter(|c| !c.is_public()))
        .unwrap_or(Class::Reserved)
}

/// The mapping of UTS 46 brings digits and full stops of other scripts to ASCII.
fn to_ascii(text: &str) -> Option<Cow<'_, [u8]>> {
    let ascii = Uts46::new()
        .to_ascii(text.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore)
        .ok()?;
    Some(Cow::Owned(ascii.into_owned().into_bytes()))
}

/// `inet_aton` and the WHATWG URL parser: the last part fills what the others leave.
fn parse_v4(text: &str) -> Option<Ipv4Addr> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let mut parts = [0u64; 4];
    let mut count = 0usize;
    for part in text.split('.') {
        *parts.get_mut(count)? = number(part)?;
        count += 1;
    }
    let (last, high) = parts.get(..count)?.split_last()?;
    let free_bits = 32 - 8 * u32::try_from(high.len()).ok()?;
    if *last >> free_bits != 0 {
        return None;
    }
    let mut bits = 0u64;
    for part in high {
        bits = bits << 8 | u64::from(u8::try_from(*part).ok()?);
    }
    u32::try_from(bits << free_bits | last).ok().map(Ipv4Addr::from_bits)
}

fn number(part: &str) -> Option<u64> {
    let (digits, radix) = match part.as_bytes() {
        [b'0', b'x' | b'X', ..] => (part.get(2..)?, 16),
        [b'0', _, ..] => (part.get(1..)?, 8),
        _ => (part, 10),
    };
    // `from_str_radix` takes a sign, and an empty text only behind `0x`, which counts as zero.
    match digits.trim_start_matches('0') {
        "" if !part.is_empty() => Some(0),
        digits if digits.bytes().all(|b| b.is_ascii_alphanumeric()) => {
            u64::from_str_radix(digits, radix).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
