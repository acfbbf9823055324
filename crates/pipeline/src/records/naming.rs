//! What a record calls its resource.

use chaperone_protocol::for_display;
use sha2::{Digest, Sha256};

use crate::access::{AccessRequest, LEADS};

/// Longest resource of a leaf, in characters.
pub(super) const SHOWN: usize = 1024;
/// The resource of a request.
pub(super) fn of_request(request: &AccessRequest) -> String {
    request.called(of_text)
}

/// A name, safe to show, without what stands between two. One of which not all is shown carries the beginning of its SHA-256, so that no two have the same text.
pub(super) fn of_text(name: &str) -> String {
    let shown = for_display(&name.replace(LEADS, "\u{fffd}"), SHOWN);
    if shown == name {
        return shown;
    }
    let digest = Sha256::digest(name);
    format!("{shown} #{}", hex::encode(digest.get(..4).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_that_look_alike_have_texts_of_their_own() {
        let long = |middle: &str| format!("/workspace/{}{middle}{}", "a".repeat(600), "b".repeat(600));
        let names = [
            "/workspace/pay roll.txt".to_owned(),
            "/workspace/pay\troll.txt".to_owned(),
            "/workspace/pay\nroll.txt".to_owned(),
            "/workspace/pay\u{fffd}roll.txt".to_owned(),
            "/workspace/pay\u{202e}roll.txt".to_owned(),
            "/workspace/a → b".to_owned(),
            "/workspace/a \u{fffd} b".to_owned(),
            long("x"),
            long("y"),
        ];
        let texts: BTreeSet<String> = names.iter().map(|name| of_text(name)).collect();
        assert_eq!(texts.len(), names.len(), "{texts:?}");
        assert!(texts.iter().all(|text| !text.contains(LEADS) && !text.contains(char::is_control)));
        assert_eq!(of_text("/workspace/Bücher/tab.txt"), "/workspace/Bücher/tab.txt");
    }
}
