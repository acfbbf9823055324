//! Where servers sent the agent on. Such an address is the server's own word, signature and all: whoever gets it learns nothing that
//! the server that named it could not have said.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};

use http::{HeaderValue, StatusCode, Uri};
use parking_lot::Mutex;

/// Addresses of a session that are remembered; the oldest goes first.
const MOST: usize = 256;
/// The longest address, in bytes.
const LONGEST: usize = 16 << 10;

/// Where one request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Address<'a> {
    pub tls: bool,
    /// In lower case.
    pub host: &'a str,
    pub port: u16,
    /// Path and query.
    pub target: &'a str,
}

/// The addresses that answers named.
#[derive(Debug, Default)]
pub(crate) struct Redirects {
    /// An address can be long: what is kept of it are two hashes under keys of this session, which nobody outside can aim at.
    keys: [RandomState; 2],
    recent: Mutex<VecDeque<[u64; 2]>>,
}

impl Redirects {
    /// Remember where an answer to a request for `from` sends on to.
    pub fn remember(&self, from: Address<'_>, status: StatusCode, location: Option<&HeaderValue>) {
        let Some(location) = location.filter(|_| status.is_redirection()).and_then(|l| l.to_str().ok())
        else {
            return;
        };
        let location = location.split('#').next().unwrap_or_default();
        if location.len() > LONGEST {
            return;
        }
        if location.starts_with('/') && !location.starts_with("//") {
            self.keep(Address { target: location, ..from });
            return;
        }
        let Ok(to) = location.parse::<Uri>() else { return };
        let tls = match to.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return,
        };
        let Some(host) = to.host().map(str::to_ascii_lowercase) else { return };
        let port = to.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let target = to.path_and_query().map_or("/", |target| target.as_str());
        self.keep(Address { tls, host: &host, port, target });
    }

    /// Whether an answer named exactly this address.
    pub fn name(&self, address: Address<'_>) -> bool {
        let hash = self.hash(address);
        self.recent.lock().contains(&hash)
    }

    fn keep(&self, address: Address<'_>) {
        let (hash, mut recent) = (self.hash(address), self.recent.lock());
        if recent.contains(&hash) {
            return;
        }
        if recent.len() == MOST {
            recent.pop_front();
        }
        recent.push_back(hash);
    }

    fn hash(&self, address: Address<'_>) -> [u64; 2] {
        self.keys.each_ref().map(|key| key.hash_one(address))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const FROM: Address<'_> = Address { tls: true, host: "github.example", port: 443, target: "/a/download" };

    fn at(host: &'static str, target: &'static str) -> Address<'static> {
        Address { tls: true, host, port: 443, target }
    }

    #[test]
    fn exactly_what_an_answer_named_is_known() {
        let redirects = Redirects::default();
        let found = HeaderValue::from_static("https://Assets.example/x?sig=a%2Fb&jwt=c#top");
        redirects.remember(FROM, StatusCode::OK, Some(&found));
        redirects.remember(FROM, StatusCode::FOUND, None);
        assert!(!redirects.name(at("assets.example", "/x?sig=a%2Fb&jwt=c")), "no answer sent on");
        redirects.remember(FROM, StatusCode::FOUND, Some(&found));
        assert!(redirects.name(at("assets.example", "/x?sig=a%2Fb&jwt=c")));
        for other in [
            at("assets.example", "/x?sig=a%2Fb&jwt=d"),
            at("assets.example", "/x?sig=a%2Fb"),
            at("other.example", "/x?sig=a%2Fb&jwt=c"),
            Address { tls: false, ..at("assets.example", "/x?sig=a%2Fb&jwt=c") },
            Address { port: 8443, ..at("assets.example", "/x?sig=a%2Fb&jwt=c") },
        ] {
            assert!(!redirects.name(other), "{other:?}");
        }
        let here = HeaderValue::from_static("/login?state=1");
        redirects.remember(FROM, StatusCode::SEE_OTHER, Some(&here));
        assert!(redirects.name(at("github.example", "/login?state=1")));
        for strange in ["//other.example/x", "mailto:a@b.example", "ftp://a.example/", "x", ""] {
            redirects.remember(FROM, StatusCode::FOUND, Some(&HeaderValue::from_static(strange)));
        }
        assert_eq!(redirects.recent.lock().len(), 2);
    }

    #[test]
    fn only_so_many_are_remembered() {
        let redirects = Redirects::default();
        for n in 0..MOST + 10 {
            let to = HeaderValue::from_str(&format!("/{n}")).unwrap();
            redirects.remember(FROM, StatusCode::FOUND, Some(&to));
        }
        assert_eq!(redirects.recent.lock().len(), MOST);
        assert!(!redirects.name(at("github.example", "/0")));
        assert!(redirects.name(at("github.example", "/265")));
    }
}
