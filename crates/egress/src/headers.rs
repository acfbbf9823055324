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
}

/// Whether a credential belongs in the header of this name, in lower case.
#[must_use]
pub fn holds_credentials(name: &str) -> bool {
    KNOWN.credentials.iter().any(|known| known == name)
}

/// Whether frameworks take another path, host or method from the header of this name, in lower case.
pub(crate) fn overrides(name: &str) -> bool {
    KNOWN.overrides.iter().any(|known| known == name)
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    #[test]
    fn names_are_listed_as_they_are_compared() {
        let Known { credentials, overrides } = &*KNOWN;
        for name in credentials.iter().chain(overrides) {
            assert_eq!(name.parse::<HeaderName>().unwrap().as_str(), name);
        }
        assert!(credentials.iter().all(|name| !overrides.contains(name)));
    }

    #[test]
    fn a_header_is_known_by_its_whole_name() {
        assert!(holds_credentials("authorization") && holds_credentials("cookie"));
        assert!(super::overrides("x-http-method-override") && super::overrides("x-forwarded-host"));
        for other in ["authorization-x", "x-authorization", "", "x-note"] {
            assert!(!holds_credentials(other) && !super::overrides(other), "{other}");
        }
    }
}
