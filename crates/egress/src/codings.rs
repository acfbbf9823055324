//! `Accept-Encoding`, written anew: every program sends it, so what an agent writes into it would leave unnoticed.

use http::header::{ACCEPT_ENCODING, HeaderMap};

/// Codings of the registry that servers use, in the order in which they are written (RFC 9110, section 8.4.1).
const CODINGS: [&str; 8] = ["gzip", "x-gzip", "deflate", "br", "zstd", "compress", "identity", "*"];

/// The codings that a request accepts, by their registered names; nothing when it says nothing of them.
#[must_use]
pub fn accepted(headers: &HeaderMap) -> Option<String> {
    let lines: Vec<_> = headers.get_all(ACCEPT_ENCODING).iter().collect();
    if lines.is_empty() {
        return None;
    }
    let text = lines.iter().filter_map(|v| v.to_str().ok());
    let wanted: Vec<&str> = text.flat_map(|line| line.split(',')).filter_map(wanted).collect();
    let named: Vec<&str> =
        CODINGS.into_iter().filter(|c| wanted.iter().any(|w| w.eq_ignore_ascii_case(c))).collect();
    // Whoever accepts nothing that is known takes an answer as it is.
    Some(if named.is_empty() { "identity".to_owned() } else { named.join(", ") })
}

/// The name of a coding, unless its weight says that it is not wanted.
fn wanted(entry: &str) -> Option<&str> {
    let mut words = entry.split(';').map(str::trim);
    let name = words.next()?;
    let weight = words.find_map(|w| w.strip_prefix("q=").or_else(|| w.strip_prefix("Q=")));
    let refused = weight.is_some_and(|q| q.starts_with('0') && q.bytes().all(|b| matches!(b, b'0' | b'.')));
    (!refused).then_some(name)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(lines: &[&'static str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_static(line));
        }
        accepted(&headers)
    }

    #[test]
    fn what_clients_accept_is_kept() {
        for (sent, kept) in [
            ("gzip, deflate, br", "gzip, deflate, br"),
            ("deflate, gzip, br, zstd", "gzip, deflate, br, zstd"),
            ("GZIP;q=1.0, *;q=0.5", "gzip, *"),
            ("identity;q=1, *;q=0", "identity"),
            ("gzip;q=0, br;q=0.000, zstd; q=0.1", "zstd"),
            ("identity", "identity"),
            ("", "identity"),
        ] {
            assert_eq!(of(&[sent]).as_deref(), Some(kept), "{sent}");
        }
        assert_eq!(of(&["gzip", "br"]).as_deref(), Some("gzip, br"));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn nothing_that_an_agent_writes_is_left_in_it() {
        let token = "ghp_8Xk2mQvR7tLw5nZc3bYd9fHj4sGa6pTe1uVo";
        for carrier in [
            "ghp_8Xk2mQvR7tLw5nZc3bYd9fHj4sGa6pTe1uVo",
            "gzip;ghp_8Xk2mQvR7tLw5nZc3bYd9fHj4sGa6pTe1uVo",
            "gzip;q=0.237, br;q=0.820, x-237-82-2033",
            "br, gzip;level=\"ghp_8Xk2mQvR7tLw5nZc3bYd9fHj4sGa6pTe1uVo\"",
        ] {
            let kept = of(&[carrier]).unwrap();
            assert!(!kept.contains(token) && !kept.contains("237"), "{kept}");
            assert!(kept.split(", ").all(|c| CODINGS.contains(&c)), "{kept}");
        }
    }
}
