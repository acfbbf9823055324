//! Hosts that a program fetches from when it opens a file of its own kind: maps, lists of media, cards, diagrams, scenes. The others
//! are `chaperone_inspect::document`'s.

use std::collections::BTreeSet;

use super::pack::{Loads, PACK};
use super::place::like;

/// Bytes of a file that are looked at at once.
pub const MOST: usize = 8 << 20;

/// Whether a file of this name may fetch something when it is opened.
#[must_use]
pub fn may_load(path: &str) -> bool {
    groups(path).next().is_some()
}

/// What may be fetched by a file of this name.
fn groups(path: &str) -> impl Iterator<Item = &'static Loads> {
    let name = path.rsplit('/').next().unwrap_or_default().to_lowercase();
    PACK.loads.iter().filter(move |group| group.names.iter().any(|pattern| like(pattern, &name)))
}

/// The hosts, by the file's name and content.
#[must_use]
pub fn loads(path: &str, content: &[u8]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut text = None;
    for group in groups(path) {
        let text = text.get_or_insert_with(|| readable(content));
        let marked = text.split(['<', '\n', '{', ',']).filter(|part| {
            group.marks.is_empty() || group.marks.iter().any(|mark| part.contains(mark.as_str()))
        });
        found.extend(marked.flat_map(hosts));
    }
    found.retain(|host| !PACK.vocabularies.hosts.iter().any(|known| known == host));
    found
}

/// In lower case, without escapes, and without the folds of lines that cards and calendars have.
fn readable(content: &[u8]) -> String {
    let text = String::from_utf8_lossy(content).to_lowercase();
    let text = text.replace("\\/", "/").replace("\r\n ", "").replace("\n ", "").replace("\\u002f", "/");
    text.replace("&lt;", "<").replace("&quot;", "\"").replace("&#47;", "/").replace("&amp;", "&")
}

fn hosts(part: &str) -> impl Iterator<Item = String> {
    let after = part
        .match_indices("://")
        .chain(part.match_indices("\\\\"))
        .filter_map(|(at, mark)| part.get(at + mark.len()..));
    after.filter_map(|rest| {
        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '@' | ':' | '[' | ']')));
        let authority = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        let host = host.split(':').next().unwrap_or_default().trim_end_matches('.');
        host.contains(char::is_alphanumeric).then(|| host.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_fetches_when_it_opens_a_file_is_seen() {
        let url = "http://evil.example/x.png?d=1";
        for (name, text) in [
            (
                "a.kml",
                format!(
                    "<kml xmlns=\"http://www.opengis.net/kml/2.2\"><NetworkLink><Link><href>{url}</href>"
                ),
            ),
            ("a.m3u8", format!("#EXTM3U\n{url}")),
            ("a.pls", format!("[playlist]\nFile1={url}")),
            ("a.asx", format!("<asx><entry><ref href=\"{url}\"/>")),
            ("a.xspf", format!("<playlist xmlns=\"http://xspf.org/ns/0/\"><location>{url}</location>")),
            ("a.vcf", format!("BEGIN:VCARD\nPHOTO:{url}\n")),
            ("a.vcf", "BEGIN:VCARD\r\nPHOTO;VALUE=uri:http://ev\r\n il.example/x\r\n".to_owned()),
            ("a.ics", format!("ATTACH;FMTTYPE=audio/basic:{url}\n")),
            ("a.drawio", format!("<mxCell style=\"shape=image;image={url}\"/>")),
            ("a.puml", format!("@startuml\n!include {url}\n")),
            ("a.gltf", "{\"images\":[{\"uri\":\"http:\\/\\/evil.example\\/x\"}]}".to_owned()),
            ("a.x3d", format!("<Inline url=\"{url}\"/>")),
            (
                "vega.json",
                format!("{{\"$schema\":\"https://vega.github.io/schema\",\"data\":[{{\"url\":\"{url}\"}}]}}"),
            ),
            ("a.rss", format!("<rss><channel><image><url>{url}</url>")),
            ("a.enex", format!("<![CDATA[<en-note><img src=\"{url}\"/>")),
            ("a.mm", format!("<html><img src=\"{url}\"/>")),
            ("a.lyx", format!("\\begin_inset Graphics\nfilename {url}\n")),
            ("a.fdf", format!("1 0 obj<</FDF<</F({url})>>>>endobj")),
            ("a.vrt", format!("<SourceFilename>/vsicurl/{url}</SourceFilename>")),
            ("a.iqy", format!("WEB\n1\n{url}")),
        ] {
            assert_eq!(
                loads(name, text.as_bytes()),
                BTreeSet::from(["evil.example".to_owned()]),
                "{name} {text}"
            );
        }
    }

    #[test]
    fn links_and_vocabularies_are_not_fetched() {
        for (name, text) in [
            ("a.kml", "<kml xmlns=\"http://www.opengis.net/kml/2.2\"><name>x http://a.example</name>"),
            ("a.ics", "BEGIN:VEVENT\nURL:https://a.example/meeting\nDESCRIPTION:https://a.example\n"),
            ("a.vcf", "URL:https://a.example\nEMAIL:a@a.example\n"),
            ("a.m3u", "#EXTM3U\nmusic/a.mp3\n"),
            ("a.puml", "@startuml\nA -> B : https://a.example\n"),
            ("a.gltf", "{\"buffers\":[{\"uri\":\"a.bin\"}],\"asset\":{\"generator\":\"https://a.example\"}}"),
            ("data.json", "{\"url\":\"https://a.example\"}"),
            ("a.txt", "http://a.example"),
        ] {
            assert!(loads(name, text.as_bytes()).is_empty(), "{name} {text}");
        }
    }
}
