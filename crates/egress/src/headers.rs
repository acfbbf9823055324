//! Headers that decisions know by name: `packs/headers.toml`.

use std::sync::LazyLock;

use serde::Deserialize;

static KNOWN: LazyLock<Known> = LazyLock::new(|| chaperone_packs::table("packs/headers.toml"));

/// Names in lower case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    /// A credential belongs in these.
    credentials: Vec<String>,
    /// With these a request is something else than it says.
    overrides: Vec<String>,
    override_words: OverrideWords,
    /// With `_` for a hyphen they say the same again.
    twins: Vec<String>,
}

/// Names that nobody listed say by their words that they override something.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OverrideWords {
    what: Vec<String>,
    how: Vec<String>,
}

/// Whether a credential belongs in the header of this name, in lower case.
#[must_use]
pub fn holds_credentials(name: &str) -> bool {
    KNOWN.credentials.iter().any(|known| known == name)
}

/// Whether frameworks take another path, host or method from the header of this name, in lower case, or read it as another one
/// (RFC 3875, section 4.1.18: to them `_` is `-`).
pub(crate) fn overrides(name: &str) -> bool {
    let hyphenated = name.replace('_', "-");
    let is_in = |list: &[String]| list.contains(&hyphenated);
    let says = |words: &[String]| hyphenated.split('-').any(|word| words.iter().any(|known| known == word));
    let OverrideWords { what, how } = &KNOWN.override_words;
    is_in(&KNOWN.overrides)
        || hyphenated.starts_with("x-") && says(what) && says(how)
        || hyphenated != name && is_in(&KNOWN.twins)
}

/// Whether the value of a `Forwarded` header (RFC 7239) names a host.
pub(crate) fn forwards_host(value: &[u8]) -> bool {
    let mut pairs = value.split(|b| matches!(b, b';' | b','));
    pairs.any(|pair| {
        let name = pair.split(|b| *b == b'=').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(b"host")
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    #[test]
    fn names_are_listed_as_they_are_compared() {
        let Known { credentials, overrides, twins, override_words: _ } = &*KNOWN;
        for name in credentials.iter().chain(overrides).chain(twins) {
            assert_eq!(name.parse::<HeaderName>().unwrap().as_str(), name);
        }
        assert!(credentials.iter().all(|name| !overrides.contains(name)));
    }

    #[test]
    fn a_forwarded_header_may_name_who_asks_but_no_host() {
        for host in [&b"host=admin.internal"[..], b"for=1.2.3.4; Host = \"x\"", b"for=a,host=b"] {
            assert!(forwards_host(host));
        }
        for other in [&b"for=1.2.3.4;proto=https"[..], b"for=host", b""] {
            assert!(!forwards_host(other));
        }
    }

    #[test]
    fn a_header_is_known_by_its_whole_name() {
        assert!(holds_credentials("authorization") && holds_credentials("cookie"));
        assert!(super::overrides("x-http-method-override") && super::overrides("x-forwarded-host"));
        assert!(super::overrides("x_http_method_override") && super::overrides("x_forwarded-host"));
        assert!(super::overrides("content_length") && !super::overrides("content-length"));
        assert!(super::overrides("transfer_encoding") && !super::overrides("x_note"));
        for other in
            ["x-envoy-original-path", "x-original-path", "x-rest-method", "x-request-uri", "x_replaced_path"]
        {
            assert!(super::overrides(other), "{other}");
        }
        for usual in [
            "x-request-id",
            "x-stainless-helper-method",
            "x-goog-request-params",
            "x-forwarded-for",
            "x-real-ip",
        ] {
            assert!(!super::overrides(usual), "{usual}");
        }
        for other in ["authorization-x", "x-authorization", "", "x-note"] {
            assert!(!holds_credentials(other) && !super::overrides(other), "{other}");
        }
    }
}
