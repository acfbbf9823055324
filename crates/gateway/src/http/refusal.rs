//! Answers of the broker's own.

use std::io;

use bytes::Bytes;
use chaperone_protocol::Failure;
use http::header::{HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};

use crate::refusal_text;

/// Tells where an answer of the broker's own comes from.
const REASON: HeaderName = HeaderName::from_static("x-chaperone-reason");

pub(super) type Answer = Response<BoxBody<Bytes, io::Error>>;

/// A request that is not carried, and why.
pub(crate) struct HttpRefusal(pub StatusCode, pub Failure);

pub(super) fn refusal_response(status: StatusCode, failure: &Failure) -> Answer {
    let mut answer = Response::new(
        Full::new(Bytes::from(refusal_text::plain(failure))).map_err(|never| match never {}).boxed(),
    );
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if let Ok(code) = HeaderValue::from_str(&failure.code) {
        headers.insert(REASON, code);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_request_is_answered_with_status_and_reason() {
        let failure = Failure::new("over_budget", "too much");
        let answer = refusal_response(StatusCode::PAYLOAD_TOO_LARGE, &failure);
        assert_eq!(answer.status(), 413);
        assert_eq!(answer.headers()["x-chaperone-reason"], "over_budget");
        assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
    }

    #[test]
    fn a_code_that_is_no_header_value_is_left_out() {
        let answer = refusal_response(StatusCode::FORBIDDEN, &Failure::new("a\r\nb: c", "no"));
        assert!(!answer.headers().contains_key(REASON));
        assert_eq!(answer.headers().len(), 1);
    }
}
