//! The line at the end of a run about what is likely and was asked about by nobody.

use serde_json::Value;

use crate::untrusted::Untrusted;

/// Counts by kind, the most first; nothing where there is nothing.
pub fn line(report: &Value) -> Option<String> {
    let kinds = report["counters"]["likely"].as_object()?;
    let mut kinds: Vec<(&String, u64)> =
        kinds.iter().map(|(kind, n)| (kind, n.as_u64().unwrap_or(0))).collect();
    kinds.sort_by_key(|(kind, n)| (std::cmp::Reverse(*n), *kind));
    let listed: Vec<String> = kinds.iter().map(|(kind, n)| format!("{n} {}", Untrusted::new(kind))).collect();
    (!listed.is_empty()).then(|| format!("read unasked, and likely confidential: {}", listed.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::untrusted::{HOSTILE, assert_plain};
    use serde_json::json;

    #[test]
    fn kinds_are_listed_with_the_most_first() {
        let report = json!({ "counters": { "reads": 3, "likely": { "crypt_hash": 2, "generic_secret": 7, "url_password": 2 } } });
        let expected =
            "read unasked, and likely confidential: 7 generic_secret, 2 crypt_hash, 2 url_password";
        assert_eq!(line(&report).as_deref(), Some(expected));
        assert_eq!(line(&json!({ "counters": { "reads": 3 } })), None);
    }

    #[test]
    fn a_hostile_kind_forges_no_line() {
        for name in HOSTILE {
            assert_plain(&line(&json!({ "counters": { "likely": { (*name): 1 } } })).unwrap(), 1);
        }
    }
}
