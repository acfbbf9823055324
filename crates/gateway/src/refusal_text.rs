//! Refusals in words.

use chaperone_protocol::Failure;

/// A refusal as a program shows it to whoever runs it.
pub(crate) fn plain(failure: &Failure) -> String {
    let advice = failure.advice.as_ref().map_or_else(String::new, |a| format!("\n{a}"));
    format!("chaperone: {} ({}){advice}\n", failure.message, failure.code)
}

pub(crate) fn http_response(failure: &Failure) -> Vec<u8> {
    let status = match failure.code.as_str() {
        "bad_proxy_request" => "400 Bad Request",
        "cannot_resolve" | "unreachable" => "502 Bad Gateway",
        _ => "403 Forbidden",
    };
    let body = plain(failure);
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nX-Chaperone-Reason: {}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        failure.code,
        body.len()
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(code: &str) -> String {
        let failure = Failure::new(code, "no").advise("do this instead");
        String::from_utf8(http_response(&failure)).unwrap()
    }

    #[test]
    fn a_refusal_in_http_has_a_status_for_its_cause() {
        for (code, status) in [
            ("bad_proxy_request", "400 Bad Request"),
            ("cannot_resolve", "502 Bad Gateway"),
            ("unreachable", "502 Bad Gateway"),
            ("denied_by_policy", "403 Forbidden"),
        ] {
            assert!(answered(code).starts_with(&format!("HTTP/1.1 {status}\r\n")), "{code}");
        }
    }

    #[test]
    fn a_refusal_in_http_names_its_reason_and_the_way_out_and_closes() {
        let text = answered("fronting");
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("\r\nX-Chaperone-Reason: fronting"));
        assert!(head.contains("\r\nConnection: close"));
        assert!(head.contains(&format!("\r\nContent-Length: {}", body.len())));
        assert_eq!(body, "chaperone: no (fronting)\ndo this instead\n");
    }
}
