//! The line at the end of a run about what is likely and was asked about by nobody.

use chaperone_pipeline::remembered::NAMED;
use serde_json::Value;

use crate::untrusted::Untrusted;

/// Counts by kind, the most first; nothing where there is nothing.
pub fn line(report: &Value) -> Option<String> {
    let kinds = report["counters"]["likely"].as_object()?;
    let mut kinds: Vec<(&String, u64)> =
        kinds.iter().map(|(kind, n)| (kind, n.as_u64().unwrap_or(0))).collect();
    kinds.sort_by_key(|(kind, n)| (std::cmp::Reverse(*n), *kind));
    let listed: Vec<String> = kinds.iter().map(|(kind, n)| format!("{n} {}", Untrusted::new(kind))).collect();
    let places = places(report);
    (!listed.is_empty())
        .then(|| format!("read unasked, and likely confidential: {}{places}", listed.join(", ")))
}

/// Where they are, as far as the broker names it.
fn places(report: &Value) -> String {
    let named = report["counters"]["likely_in"].as_array().map_or(&[][..], Vec::as_slice);
    let shown: Vec<String> = named
        .iter()
        .take(NAMED)
        .map(|file| Untrusted::new(file.as_str().unwrap_or_default()).to_string())
        .collect();
    match (shown.is_empty(), named.len() > NAMED) {
        (true, _) => String::new(),
        (_, true) => format!(" in {} and others", shown.join(", ")),
        (_, false) => format!(" in {}", shown.join(", ")),
    }
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
        let within = |files: &[&str]| {
            line(&json!({ "counters": { "likely": { "jwt": 1 }, "likely_in": files } })).unwrap()
        };
        let one = "read unasked, and likely confidential: 1 jwt in /workspace/a.py";
        assert_eq!(within(&["/workspace/a.py"]), one);
        assert!(within(&["a", "b", "c"]).ends_with("1 jwt in a, b, c"));
        assert!(within(&["a", "b", "c", "d"]).ends_with("1 jwt in a, b, c and others"));
    }

    #[test]
    fn a_hostile_kind_forges_no_line() {
        for name in HOSTILE {
            let counters = json!({ "likely": { (*name): 1 }, "likely_in": [name] });
            assert_plain(&line(&json!({ "counters": counters })).unwrap(), 1);
        }
    }
}
