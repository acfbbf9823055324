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
