//! Links in text (OSC 8), which a terminal opens when the user clicks on them. One passes when it is to what a browser shows and the
//! terminal can show the whole of it: a plain address, and nothing in it that looks like another one.

/// Longest address: what terminals take.
const MAX_ADDRESS: usize = 2083;
/// Longest name that makes two pieces one link.
const MAX_NAME: usize = 128;

/// The sequence that ends a link.
pub const END: &[u8] = b"\x1b]8;;\x1b\\";

/// What is passed on for `8;PARAMETERS;ADDRESS` without its first two bytes, or nothing.
pub fn passed(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let (parameters, address) = text.split_once(';')?;
    if address.is_empty() {
        return Some(END.to_vec());
    }
    let name = parameters.split(':').find_map(|p| p.strip_prefix("id=")).filter(|name| is_name(name));
    let parameters = name.map_or_else(String::new, |name| format!("id={name}"));
    is_plain(address).then(|| format!("\x1b]8;{parameters};{address}\x1b\\").into_bytes())
}

fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b))
}

fn is_plain(address: &str) -> bool {
    // What is no ASCII is escaped in an address, and a host in other letters has another way of writing it. A backslash is a slash
    // to some.
    if address.len() > MAX_ADDRESS || !address.bytes().all(|b| b.is_ascii_graphic() && b != b'\\') {
        return false;
    }
    let Some((scheme, rest)) = address.split_once("://") else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match scheme.to_ascii_lowercase().as_str() {
        // Whoever reads `https://known.example@other.example` goes to the other one.
        "http" | "https" => {
            !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
        }
        "file" => matches!(host, "" | "localhost") && is_local(rest.get(host.len()..).unwrap_or_default()),
        _ => false,
    }
}

/// Whether a path is on this machine however it is read: behind two slashes, escaped ones too, some read the name of a server.
fn is_local(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    path.starts_with('/') && !["//", "%2f", "%5c"].iter().any(|slashes| path.contains(slashes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_what_they_say_pass() {
        for good in [
            "https://example.org/",
            "http://127.0.0.1:8080/x?y=z#t",
            "https://[::1]/",
            "file:///workspace/src/main.rs",
            "file://localhost/x",
        ] {
            assert_eq!(
                passed(format!(";{good}").as_bytes()),
                Some(format!("\x1b]8;;{good}\x1b\\").into_bytes())
            );
        }
        assert_eq!(
            passed(b"id=a-1;https://x.example/"),
            Some(b"\x1b]8;id=a-1;https://x.example/\x1b\\".to_vec())
        );
        assert_eq!(
            passed(b"id=\xc3\xa4:x=y;https://x.example/"),
            Some(b"\x1b]8;;https://x.example/\x1b\\".to_vec())
        );
        assert_eq!(passed(b"id=x;"), Some(END.to_vec()));
    }

    #[test]
    fn links_that_do_more_or_look_like_another_do_not() {
        let long = format!("https://example.org/{}", "x".repeat(MAX_ADDRESS));
        for bad in [
            "javascript:alert(1)",
            "vscode://file/etc/passwd",
            "ssh://host/",
            "data:text/html,x",
            "https:example.org",
            "//example.org/",
            "https://",
            "https://known.example@other.example/",
            "https://known.example\\@other.example/",
            "https://exämple.org/",
            "https://a b/",
            "https://a/\x07",
            "https://a/\x1b[6n",
            "file://server/share/x",
            "file://\\\\server/share",
            "file:////server/share",
            "file://///server/share",
            "file://localhost//server/share",
            "file:///%2Fserver/share",
            "file:///.//server/share",
            "file://",
            "file://localhost",
            &long,
        ] {
            assert_eq!(passed(format!(";{bad}").as_bytes()), None, "{bad}");
        }
    }
}
