//! The proxy through which the user's machine reaches the world: `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy` as the user's
//! other programs read them. It is asked for hosts by their names, after these were decided on; what it answers is the server's.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chaperone_egress::{Host, HostPattern};
use http::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a proxy may take to reach a server.
const LIMIT: Duration = Duration::from_secs(20);
/// Longest head of its answer.
const MAX_HEAD: usize = 8 << 10;
/// Hosts that are reached without it.
const MOST_DIRECT: usize = 1_000;

/// Which proxy leads where.
#[derive(Debug, Default)]
pub struct Proxies {
    http: Option<Arc<CompanyProxy>>,
    https: Option<Arc<CompanyProxy>>,
    direct: Vec<Direct>,
}

/// A proxy. What it knows the user by is said to nobody else.
pub(crate) struct CompanyProxy {
    host: String,
    port: u16,
    authorization: Option<HeaderValue>,
}

/// What is reached without a proxy.
#[derive(Debug, PartialEq, Eq)]
enum Direct {
    All,
    /// This name and all below it, on a port or on all.
    Below(String, Option<u16>),
    Network(HostPattern),
}

/// The proxies that lead to one host.
#[derive(Debug, Clone, Default)]
pub(crate) struct Through {
    /// For requests that are not in TLS.
    pub http: Option<Arc<CompanyProxy>>,
    /// For everything else.
    pub tunnel: Option<Arc<CompanyProxy>>,
}

impl std::fmt::Debug for CompanyProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompanyProxy")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

impl Proxies {
    /// Those of an environment, and what of it is not used.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> (Self, Vec<String>) {
        let mut unused = Vec::new();
        let mut read = |names: &[&str]| {
            let (name, value) =
                names.iter().find_map(|name| Some((name, variable(name).filter(|v| !v.is_empty())?)))?;
            let proxy = CompanyProxy::parse(&value);
            if proxy.is_none() {
                unused.push(format!("{name} is not used: a proxy is written like http://proxy.example:3128"));
            }
            proxy.map(Arc::new)
        };
        let http = read(&["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]);
        let https = read(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]);
        unused.dedup();
        let direct = variable("no_proxy").or_else(|| variable("NO_PROXY")).unwrap_or_default();
        let words = direct.split([',', ' ']).map(str::trim).filter(|word| !word.is_empty());
        (Self { http, https, direct: words.take(MOST_DIRECT).filter_map(Direct::parse).collect() }, unused)
    }

    /// What leads to a host.
    pub(crate) fn to(&self, host: &Host, port: u16) -> Through {
        let is_own = match host {
            Host::Name(name) => name == "localhost" || name.ends_with(".localhost"),
            Host::Address(ip) => ip.is_loopback(),
        };
        if is_own || self.direct.iter().any(|direct| direct.has(host, port)) {
            return Through::default();
        }
        Through { http: self.http.clone(), tunnel: self.https.clone() }
    }

    /// Whether a name is looked up by a proxy, whatever the machine itself knows of it.
    pub(crate) fn know(&self, name: &str) -> bool {
        let to = self.to(&Host::Name(name.to_owned()), 443);
        to.http.is_some() || to.tunnel.is_some()
    }
}

impl Direct {
    fn parse(word: &str) -> Option<Self> {
        if word == "*" {
            return Some(Self::All);
        }
        if word.parse::<IpAddr>().is_ok() || word.contains('/') {
            return HostPattern::parse(word).ok().map(Self::Network);
        }
        let (name, port) = match word.rsplit_once(':') {
            Some((name, port)) => (name, Some(port.parse().ok()?)),
            None => (word, None),
        };
        let name = name.trim_start_matches("*.").trim_start_matches('.').to_ascii_lowercase();
        (!name.is_empty()).then_some(Self::Below(name, port))
    }

    fn has(&self, host: &Host, port: u16) -> bool {
        match (self, host) {
            (Self::All, _) => true,
            (Self::Network(network), host) => network.matches(host),
            (Self::Below(parent, only), Host::Name(name)) => {
                let is_below = name
                    .strip_suffix(parent.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
                is_below && only.is_none_or(|only| only == port)
            }
            (Self::Below(..), Host::Address(_)) => false,
        }
    }
}

impl CompanyProxy {
    fn parse(text: &str) -> Option<Self> {
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = with_scheme.parse().ok()?;
        if uri.scheme_str() != Some("http") {
            return None;
        }
        let authority = uri.authority()?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let authorization = match authority.as_str().rsplit_once('@') {
            Some((user, _)) => {
                let known_by = STANDARD.encode(percent_decode_str(user).collect::<Vec<u8>>());
                let mut value = HeaderValue::from_str(&format!("Basic {known_by}")).ok()?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        (!host.is_empty()).then(|| Self { host, port: authority.port_u16().unwrap_or(80), authorization })
    }

    /// What goes into the head of a request to it, and to nobody else.
    pub fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// A connection to it.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn connect(&self) -> io::Result<TcpStream> {
        let connected = tokio::time::timeout(LIMIT, TcpStream::connect((self.host.as_str(), self.port)));
        let stream = connected
            .await
            .map_err(|_| self.failed("it takes too long"))?
            .map_err(|e| self.failed(&e.to_string()))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// A connection through it to a server.
    ///
    /// # Errors
    /// What it says instead.
    pub async fn tunnel(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let mut stream = self.connect().await?;
        let to = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let mut head = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n").into_bytes();
        if let Some(authorization) = &self.authorization {
            head.extend_from_slice(b"Proxy-Authorization: ");
            head.extend_from_slice(authorization.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        let asked = async {
            stream.write_all(&head).await?;
            let mut answer = Vec::new();
            // Byte by byte: what follows is the server's.
            while !answer.ends_with(b"\r\n\r\n") {
                if answer.len() >= MAX_HEAD {
                    return Err(self.failed("its answer does not end"));
                }
                answer.push(stream.read_u8().await?);
            }
            Ok(answer)
        };
        let answer =
            tokio::time::timeout(LIMIT, asked).await.map_err(|_| self.failed("it takes too long"))??;
        let status: String = answer
            .iter()
            .skip(9)
            .take_while(|b| b.is_ascii_digit())
            .take(3)
            .map(|b| char::from(*b))
            .collect();
        match answer.starts_with(b"HTTP/1.") && status.len() == 3 && status.starts_with('2') {
            true => Ok(stream),
            false if status == "407" => {
                Err(self
                    .failed("it wants to know who asks, and http_proxy or https_proxy does not say it (407)"))
            }
            false => Err(self.failed(&format!("it leads not there ({status})"))),
        }
    }

    fn failed(&self, why: &str) -> io::Error {
        io::Error::other(format!("the proxy {}:{}: {why}", self.host, self.port))
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> (Proxies, Vec<String>) {
        let variables: Vec<(String, String)> =
            variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Proxies::of(move |name| variables.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone()))
    }

    #[test]
    fn a_proxy_is_read_as_other_programs_read_it_and_says_nothing_of_its_user() {
        let (known, unused) = proxies(&[
            ("https_proxy", "http://me:w%40rd@proxy.example:3128/"),
            ("HTTP_PROXY", "other.example"),
        ]);
        assert!(unused.is_empty());
        let https = known.https.as_ref().unwrap();
        assert_eq!((https.host.as_str(), https.port), ("proxy.example", 3128));
        assert_eq!(https.authorization().unwrap(), &format!("Basic {}", STANDARD.encode("me:w@rd")));
        let told = format!("{known:?} {}", https.failed("no"));
        assert!(!told.contains("w@rd") && !told.contains("w%40") && !told.contains("Basic"), "{told}");
        let http = known.http.as_ref().unwrap();
        assert_eq!((http.host.as_str(), http.port, http.authorization()), ("other.example", 80, None));
        let (none, unused) =
            proxies(&[("https_proxy", "socks5://me:word@proxy.example:1080"), ("http_proxy", "")]);
        assert!(none.https.is_none() && none.http.is_none());
        assert!(unused.len() == 1 && !unused[0].contains("word"), "{unused:?}");
    }

    #[test]
    fn what_needs_no_proxy_is_reached_without_one() {
        let list = ".corp.example, intranet.example:8080,10.0.0.0/8 192.0.2.7";
        let (known, _) = proxies(&[("all_proxy", "proxy.example:3128"), ("no_proxy", list)]);
        let through = |host: &str, port| known.to(&Host::parse(host).unwrap(), port).tunnel.is_some();
        for host in
            ["a.corp.example", "corp.example", "10.1.2.3", "192.0.2.7", "localhost", "127.0.0.1", "[::1]"]
        {
            assert!(!through(host, 443), "{host}");
        }
        assert!(!through("intranet.example", 8080) && through("intranet.example", 443));
        assert!(through("acorp.example", 443) && through("192.0.2.8", 443) && known.know("api.example"));
        let (none, _) = proxies(&[("all_proxy", "proxy.example:3128"), ("no_proxy", "*")]);
        assert!(!none.know("api.example"));
    }

    #[test]
    fn a_tunnel_is_asked_for_by_name_and_what_follows_the_answer_is_the_servers() {
        let tunnelled = |answer: &'static [u8]| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let at = listener.local_addr().unwrap();
                let proxy = CompanyProxy::parse(&format!("http://me:word@{at}")).unwrap();
                let serve = async {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let mut head = vec![0; 1024];
                    let got = stream.read(&mut head).await.unwrap();
                    stream.write_all(answer).await.unwrap();
                    head.truncate(got);
                    String::from_utf8(head).unwrap()
                };
                let (stream, head) = tokio::join!(proxy.tunnel("api.example", 443), serve);
                let mut rest = String::new();
                let stream = match stream {
                    Ok(mut stream) => stream.read_to_string(&mut rest).await.map(|_| rest),
                    Err(e) => Err(e),
                };
                (head, stream.map_err(|e| e.to_string()))
            })
        };
        let (head, rest) = tunnelled(b"HTTP/1.1 200 OK\r\nVia: x\r\n\r\n220 ready");
        assert!(head.starts_with("CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\n"), "{head}");
        assert!(head.contains("\r\nProxy-Authorization: Basic bWU6d29yZA==\r\n"), "{head}");
        assert_eq!(rest, Ok("220 ready".to_owned()));
        assert!(tunnelled(b"HTTP/1.1 407 No\r\n\r\n").1.unwrap_err().contains("407"));
        assert!(tunnelled(b"HTTP/1.1 403 No\r\n\r\n").1.unwrap_err().contains("403"));
        assert!(tunnelled(b"SSH-2.0-x\r\n\r\n").1.is_err());
    }
}
