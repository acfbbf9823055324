//! What was found: addresses as browsers read them, and what runs.

use sha2::{Digest, Sha256};
use url::Url;

use super::css;
use super::reach::Reach;

/// Findings of one document that are kept.
const KEPT: usize = 10_000;
/// Documents in documents (`srcdoc`, parts of mails) that are followed.
const DEEPEST: usize = 4;
/// Pages in attributes that are read.
const PAGES: usize = 64;
/// Where a relative address of a document on disk leads.
const HERE: &str = "file:///document/";
/// Names of formats, which nothing fetches.
const NAMES_ONLY: &[&str] =
    &["www.w3.org", "purl.oclc.org", "schemas.microsoft.com", "schemas.openxmlformats.org"];
/// Attributes whose address nobody fetches before somebody clicks, or that hold words.
const INERT: &[&str] = &[
    "alt",
    "title",
    "content",
    "value",
    "placeholder",
    "class",
    "id",
    "name",
    "cite",
    "action",
    "formaction",
    "ping",
    "itemtype",
    "itemid",
    "itemprop",
    "property",
    "typeof",
    "resource",
    "about",
    "prefix",
    "vocab",
    "datetime",
    "lang",
    "label",
    "summary",
    "abbr",
    "pattern",
    "schemalocation",
    "nonamespaceschemalocation",
    "rel",
    "rev",
    "role",
    "target",
    "type",
    "media",
    "integrity",
    "nonce",
    "version",
    "d",
    "points",
    "transform",
    "viewbox",
    "requiredfeatures",
    "requiredextensions",
    "longdesc",
    "desc",
    "for",
    "sizes",
    "color",
    "baseprofile",
];
/// Links to other pages, which viewers do not fetch.
const INERT_LINKS: &[&str] = &[
    "canonical",
    "alternate",
    "author",
    "license",
    "next",
    "prev",
    "help",
    "search",
    "me",
    "bookmark",
    "tag",
    "nofollow",
    "noopener",
    "noreferrer",
    "external",
    "shortlink",
    "amphtml",
    "edituri",
    "webmention",
    "up",
    "top",
    "index",
    "home",
    "self",
    "copyright",
];
/// Types of `script` that hold data.
const DATA_SCRIPTS: &[&str] =
    &["application/json", "application/ld+json", "text/plain", "application/schema+json"];

#[derive(Debug)]
pub(super) struct Sink {
    pub reach: Reach,
    base: Option<Url>,
    depth: usize,
    pages: Vec<String>,
    pages_taken: usize,
}

impl Default for Sink {
    fn default() -> Self {
        Self {
            reach: Reach::default(),
            base: Url::parse(HERE).ok(),
            depth: 0,
            pages: Vec::new(),
            pages_taken: 0,
        }
    }
}

impl Sink {
    /// Something that runs.
    pub fn active(&mut self, what: &str, content: &str) {
        if self.reach.active.len() >= KEPT {
            self.reach.unseen = true;
            return;
        }
        self.reach
            .active
            .insert(format!("{what} {}", hex::encode(Sha256::digest(content.trim().as_bytes()))));
    }

    /// A document in the document; what is too deep counts as not seen.
    pub fn inner(&mut self, read: impl FnOnce(&mut Self)) {
        if self.depth >= DEEPEST {
            self.reach.unseen = true;
            return;
        }
        self.depth += 1;
        read(self);
        self.depth -= 1;
    }

    /// A page that stands in an attribute and is not read yet; beyond the limit it counts as not seen.
    pub fn next_page(&mut self) -> Option<String> {
        let page = self.pages.pop()?;
        self.pages_taken += 1;
        if self.pages_taken > PAGES {
            self.reach.unseen = true;
            return None;
        }
        Some(page)
    }

    /// What a style loads.
    pub fn css(&mut self, text: &str) {
        css::addresses(text).iter().for_each(|address| self.address(address));
    }

    /// An address that a viewer fetches by itself.
    pub fn address(&mut self, address: &str) {
        self.judge(address, true);
    }

    /// An address that somebody has to follow: only one that runs counts.
    pub fn link(&mut self, address: &str) {
        self.judge(address, false);
    }

    fn judge(&mut self, address: &str, loads: bool) {
        // What has neither scheme nor host is beside the document.
        if !address.contains([':', '\\']) && address.bytes().filter(|b| *b == b'/').count() < 2 {
            return;
        }
        let Some(url) = self.base.as_ref().and_then(|base| base.join(address).ok()) else { return };
        match url.scheme() {
            "javascript" | "vbscript" | "mhtml" | "ms-its" => self.active("address", address),
            "data" => {
                let kind = url.path().trim_start().to_lowercase();
                let is_media = [
                    "image/",
                    "font/",
                    "audio/",
                    "video/",
                    "application/font",
                    "application/x-font",
                    ",",
                    ";",
                ];
                if !is_media.iter().any(|media| kind.starts_with(media)) {
                    self.active("address", address);
                }
            }
            scheme => {
                let host = url.host_str().unwrap_or_default();
                let is_share = scheme == "file" && url.path().starts_with("//");
                let leads_out = (!host.is_empty() || is_share) && !NAMES_ONLY.contains(&host);
                if loads && leads_out {
                    self.load(url.as_str());
                }
            }
        }
    }

    fn load(&mut self, address: &str) {
        if self.reach.loads.len() >= KEPT {
            self.reach.unseen = true;
            return;
        }
        self.reach.loads.insert(address.to_owned());
    }

    /// An element of HTML, XHTML or SVG: names in lower case, without prefixes.
    pub fn element(&mut self, name: &str, attributes: &[(String, String)]) {
        let get = |of: &str| attributes.iter().find(|(n, _)| n == of).map_or("", |(_, value)| value.as_str());
        if matches!(name, "object" | "embed" | "applet" | "handler" | "listener") {
            self.active(name, &format!("{attributes:?}"));
        }
        if name == "script" {
            let kind = get("type").trim().to_lowercase();
            if !DATA_SCRIPTS.contains(&kind.as_str()) {
                self.active("script", &format!("{attributes:?}"));
            }
        }
        let refreshes = get("http-equiv").trim().eq_ignore_ascii_case("refresh");
        for (attribute, value) in attributes {
            match attribute.as_str() {
                "style" => self.css(value),
                "srcdoc" => {
                    self.active("srcdoc", value);
                    self.pages.push(value.clone());
                }
                "srcset" | "imagesrcset" => {
                    let candidates = value.split(|c: char| c.is_ascii_whitespace());
                    candidates.for_each(|candidate| self.address(candidate.trim_matches(',')));
                    value
                        .split(',')
                        .for_each(|c| self.address(c.split_ascii_whitespace().next().unwrap_or_default()));
                }
                "content" if refreshes => self.refresh(value),
                "attributename" | "to" | "from" | "by" | "values" if is_animation(name) => {
                    self.animation(get("attributename"), attribute, value);
                }
                _ if attribute.len() > 2 && attribute.starts_with("on") && !value.trim().is_empty() => {
                    self.active("handler", &format!("{attribute}={value}"));
                }
                "href" if is_followed(name, get("rel")) => self.link(value),
                "action" | "formaction" => self.link(value),
                _ if attribute.starts_with("data-") || attribute.starts_with("aria-") => {}
                _ if INERT.contains(&attribute.as_str()) => {}
                _ => {
                    self.address(value);
                    if value.contains('(') {
                        self.css(value);
                    }
                }
            }
        }
        if name == "base"
            && let Some(base) = Url::parse(HERE).ok().and_then(|here| here.join(get("href")).ok())
        {
            self.base = Some(base);
        }
    }

    fn refresh(&mut self, content: &str) {
        let lower = content.to_lowercase();
        let address = match lower.find("url") {
            Some(at) => content.get(at + 3..).unwrap_or_default().trim_start().trim_start_matches('='),
            None => {
                content.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | ';' | ',' | ' '))
            }
        };
        let address = address.trim().trim_matches(['"', '\'']);
        let before = self.reach.loads.len();
        self.address(address);
        if self.reach.loads.len() > before {
            self.active("refresh", address);
        }
    }

    fn animation(&mut self, animated: &str, attribute: &str, value: &str) {
        let animated = animated.to_lowercase();
        if attribute == "attributename" {
            if animated.rsplit(':').next().is_some_and(|name| name.starts_with("on")) {
                self.active("animation", value);
            }
            return;
        }
        value.split(';').for_each(|value| self.address(value.trim()));
    }
}

fn is_animation(name: &str) -> bool {
    name == "set" || name.starts_with("animate")
}

/// Whether the address of this element is fetched only when somebody follows it.
fn is_followed(name: &str, rel: &str) -> bool {
    let only_pages = || {
        !rel.trim().is_empty()
            && rel.split_ascii_whitespace().all(|r| INERT_LINKS.contains(&r.to_lowercase().as_str()))
    };
    matches!(name, "a" | "area") || name == "link" && only_pages()
}
