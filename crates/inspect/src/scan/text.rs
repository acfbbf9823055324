//! What the bytes between words announce: e-mail and IPv6 addresses, passwords in URLs, armoured blocks, postal addresses.

use std::net::Ipv6Addr;

use sha2::Digest;

use super::connection;
use super::filter::Filter;
use super::value::{is_placeholder, is_stand_in};
use super::view::View;
use super::walk::{Mode, Walk, rank};
use crate::detect::index::{Label, is_word};
use crate::detect::{DetectorId, Native, Set};

/// The longest local part (RFC 5321 4.5.3.1.1).
const LOCAL_PART: usize = 64;
/// The longest domain (RFC 1035 2.3.4).
const DOMAIN: usize = 253;
/// The longest user and password of a URL that is looked at.
const USERINFO: usize = 256;
/// How far behind a command its password may stand: some lines of flags.
const COMMAND: u64 = 512;
/// An armoured block beyond this is no key: it bounds how much one finding can cover (a 16,384-bit RSA key takes 13 KiB).
const ARMOUR: u64 = 64 * 1024;
/// Ends of domain-like words that are names of files (`icon@2x.png`).
const FILE_ENDINGS: &[&[u8]] = &[
    b"png", b"jpg", b"jpeg", b"gif", b"svg", b"webp", b"ico", b"css", b"js", b"ts", b"tsx", b"jsx", b"json",
    b"html", b"toml", b"yaml", b"yml", b"lock", b"service", b"local",
];

/// How many bytes a key has by its first letters in base64: a sequence of DER with its length in two bytes (X.690, 8.1.3).
fn declared(letters: &[u8; 8]) -> Option<u64> {
    let bytes = base64::Engine::decode(&base64::prelude::BASE64_STANDARD_NO_PAD, letters).ok()?;
    match bytes.as_slice() {
        [0x30, 0x82, high, low, ..] => Some(u64::from(u16::from_be_bytes([*high, *low])) + 4),
        _ => None,
    }
}

impl Walk {
    /// A byte that may mean something.
    pub(crate) fn mark(&mut self, set: &Set, view: &View<'_>, at: usize) -> usize {
        let next = view.at(at + 1);
        let found = match view.at(at) {
            b'@' if matches!(next, b't' | b'u' | b'c') && self.connects(set, view, at, connection::of_go) => {
                None
            }
            b'@' if self.connects(set, view, at, connection::of_oracle) => None,
            b'@' => self.mail(set, view, at),
            b':' if next == b'/' && view.at(at + 2) == b'/' => self.url(set, view, at),
            b':' if matches!(view.before(at, 1), b'0'..=b'9' | b'*')
                && self.connects(set, view, at, connection::of_postgres) =>
            {
                None
            }
            b':' => self.ipv6(set, view, at),
            b'-' if next == b'-'
                && view.before(at, 1) != b'-'
                && view.slice(at, at + 11) == b"-----BEGIN " =>
            {
                self.armour_begin(set, view, at)
            }
            b'-' if matches!(next, b'u' | b'p' | b'-') && view.before(at, 1) == b' ' => {
                self.flag(set, view, at)
            }
            b'~' if view.before(at, 1) == b'Q' && view.before(at, 2).is_ascii_digit() && at >= 5 => {
                self.fixed(set, view, Native::AzureSecret, at - 5)
            }
            b'$' if next.is_ascii_digit() => self.fixed(set, view, Native::CryptHash, at),
            _ => None,
        };
        found.unwrap_or(at + 1)
    }

    fn mail(&mut self, set: &Set, view: &View<'_>, at: usize) -> Option<usize> {
        let id = set.native(Native::Email)?;
        if view.base + (at as u64) < self.mails_done {
            return None;
        }
        let local_byte = |b: &&u8| is_word(**b) || b"._%+-'!#&*/=?^`{|}~$".contains(b);
        let plain = |b: u8| is_word(b) || b"._%+-".contains(&b);
        let before = view.slice(at.saturating_sub(LOCAL_PART + 1), at);
        let mut length = before.iter().rev().take_while(local_byte).count();
        // The rarer bytes of a local part are more often punctuation around it.
        if before.iter().rev().take(length).any(|b| !plain(*b)) {
            length = before.iter().rev().take_while(|b| plain(**b)).count();
        }
        while length > 0 && matches!(view.at(at - length), b'.' | b'-' | b'%') {
            length -= 1;
        }
        let rest = view.slice(at + 1, at + 1 + DOMAIN);
        let mut domain = rest.iter().take_while(|b| is_word(**b) || matches!(b, b'.' | b'-')).count();
        self.work += (length + domain) as u64;
        while domain > 0 && rest.get(domain - 1).is_some_and(|b| matches!(b, b'.' | b'-')) {
            domain -= 1;
        }
        let name = rest.get(..domain)?;
        let top = name.rsplit(|b| *b == b'.').next()?;
        let labels_ok = name
            .split(|b| *b == b'.')
            .all(|l| !l.is_empty() && l.len() <= 63 && !l.starts_with(b"-") && !l.ends_with(b"-"));
        let top_ok = (2..=24).contains(&top.len())
            && (top.iter().all(|b| b.is_ascii_alphabetic() || *b >= 0x80) || top.starts_with(b"xn--"));
        let file = FILE_ENDINGS.iter().any(|f| top.eq_ignore_ascii_case(f));
        let local = view.slice(at - length, at);
        let in_url = view.before(at - length, 1) == b'/' && view.before(at - length, 2) == b'/'
            || view.before(at - length, 1) == b':' && self.in_userinfo(view, at - length);
        let ok = (1..=LOCAL_PART).contains(&length)
            && name.contains(&b'.')
            && labels_ok
            && top_ok
            && !file
            && !local.windows(2).any(|w| w == b"..")
            && !local.ends_with(b".")
            && !in_url
            && !(local == b"git" && view.at(at + 1 + domain) == b':')
            && view.at(at + 1 + domain) != b'@'
            && view.before(at - length, 1) != b'@';
        if !ok {
            return None;
        }
        let end = at + 1 + domain;
        self.hit(set, view, id, at - length, end, rank::FORMAT, 0.97);
        self.mails_done = view.base + end as u64;
        Some(end)
    }

    /// Whether `://` comes before, on the same word: what stands here is a URL's user and password.
    fn in_userinfo(&self, view: &View<'_>, at: usize) -> bool {
        let before = view.slice(at.saturating_sub(96), at);
        let word = before
            .iter()
            .rev()
            .take_while(|b| !b.is_ascii_whitespace() && !matches!(b, b'"' | b'\''))
            .count();
        before.get(before.len() - word..).unwrap_or_default().windows(3).any(|w| w == b"://")
    }

    /// `scheme://user:password@host`.
    fn url(&mut self, set: &Set, view: &View<'_>, at: usize) -> Option<usize> {
        let id = set.native(Native::UrlPassword)?;
        if !view.before(at, 1).is_ascii_alphanumeric() {
            return None;
        }
        let from = at + 3;
        let window = view.slice(from, from + USERINFO);
        let stop = window
            .iter()
            .take_while(|b| {
                b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'<' | b'>' | b'`' | b'/' | b'?' | b'#')
            })
            .count();
        self.work += stop as u64;
        let authority = window.get(..stop)?;
        let host = authority.iter().rposition(|b| *b == b'@')?;
        let colon = authority.iter().position(|b| *b == b':').filter(|c| *c < host)?;
        let (user, password) = (authority.get(..colon)?, authority.get(colon + 1..host)?);
        if password.len() < 3
            || is_stand_in(password)
            || password.eq_ignore_ascii_case(b"port")
            || is_placeholder(password)
            || password.eq_ignore_ascii_case(user) && password.len() < 8
            || authority.len() <= host + 1
        {
            self.spare(view, id, (from + colon + 1, from + host), Filter::Placeholder);
            return None;
        }
        self.hit(set, view, id, from + colon + 1, from + host, rank::CHECKED, 0.9);
        self.mails_done = view.base + (from + stop) as u64;
        // What is certain by its own form is looked for in it, too.
        Some(from)
    }

    /// A password by its place, of which `is` says where it stands around `at`.
    fn connects(
        &mut self,
        set: &Set,
        view: &View<'_>,
        at: usize,
        is: fn(&View<'_>, usize) -> Option<(usize, usize)>,
    ) -> bool {
        let Some(id) = set.native(Native::UrlPassword) else { return false };
        let Some((start, end)) = is(view, at) else { return false };
        self.work += (end - start) as u64;
        self.hit(set, view, id, start, end, rank::CHECKED, 0.9);
        true
    }

    fn ipv6(&mut self, set: &Set, view: &View<'_>, at: usize) -> Option<usize> {
        let piece = |b: &&u8| b.is_ascii_hexdigit() || **b == b':';
        let left = view.at(at + 1) == b':';
        // Without `::` a whole address has seven colons; this one is its first.
        let within = view.before(at, 1).is_ascii_hexdigit() && view.at(at + 1).is_ascii_hexdigit();
        if !left && !within {
            return None;
        }
        let start = at - view.slice(at.saturating_sub(40), at).iter().rev().take_while(piece).count();
        let length = view.slice(start, start + 46).iter().take_while(|b| piece(b) || **b == b'.').count();
        self.work += length as u64;
        let mut text = std::str::from_utf8(view.slice(start, start + length)).ok()?;
        while let Some(shorter) =
            text.strip_suffix('.').or_else(|| text.strip_suffix(':').filter(|t| !t.ends_with(':')))
        {
            text = shorter;
        }
        let end = start + text.len();
        let edge = |b: u8| is_word(b) || matches!(b, b'_' | b'.' | b':');
        if text.bytes().filter(|b| *b == b':').count() < 2
            || edge(view.before(start, 1))
            || is_word(view.at(end))
            || matches!(view.at(end), b'_' | b':')
        {
            return None;
        }
        let id = set.native(Native::Ip)?;
        let digits = text.bytes().any(|b| b.is_ascii_digit());
        let address: Ipv6Addr = text.parse().ok()?;
        if !digits || address.is_unspecified() {
            return None;
        }
        self.hit(set, view, id, start, end, rank::FORMAT, 0.9);
        self.numbers_done = self.numbers_done.max(view.base + end as u64);
        Some(end)
    }

    fn armour_begin(&mut self, _set: &Set, view: &View<'_>, at: usize) -> Option<usize> {
        let header = view.slice(at + 11, at + 80);
        let length = header.windows(5).position(|w| w == b"-----")?;
        let name = header.get(..length)?;
        if !name.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b' ') {
            return None;
        }
        let private = name.windows(11).any(|w| w == b"PRIVATE KEY");
        let end = at + 11 + length + 5;
        let start = view.base + at as u64;
        self.key.reset();
        self.key_begins = Default::default();
        self.key_has_lines = false;
        self.mode = Mode::Armour { start, private, body: 0, last: view.base + end as u64 };
        Some(end)
    }

    /// Goes through an armoured block until its end, or until something that does not belong in one.
    pub(crate) fn armour(&mut self, view: &View<'_>, mut pos: usize, limit: usize) -> usize {
        let Mode::Armour { start, private, mut body, mut last } = self.mode else { return pos };
        while pos < limit {
            let b = view.at(pos);
            let whole = b == b'-' && view.slice(pos, pos + 9) == b"-----END ";
            if whole {
                let tail = view.slice(pos + 9, pos + 80);
                pos += 9 + tail.windows(5).position(|w| w == b"-----").map_or(0, |n| n + 5);
                return self.armour_end(start, private, body.max(1), view.base + pos as u64, pos);
            }
            let code = b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
            let glue = b.is_ascii_whitespace()
                || matches!(
                    b,
                    b'\\'
                        | b'"'
                        | b'\''
                        | b','
                        | b':'
                        | b'-'
                        | b'.'
                        | b'_'
                        | b'#'
                        | b'*'
                        | b'>'
                        | b'('
                        | b')'
                        | b';'
                        | b'$'
                );
            self.key_has_lines |= b == b'\n' || b == b'\\' && matches!(view.at(pos + 1), b'n' | b'r');
            if code {
                // An escaped line break is none of its letters.
                if private && !(view.before(pos, 1) == b'\\' && matches!(b, b'n' | b'r' | b't')) {
                    self.key.update([b]);
                    let (letters, have) = &mut self.key_begins;
                    if let Some(letter) = letters.get_mut(*have) {
                        (*letter, *have) = (b, *have + 1);
                    }
                }
                body = body.saturating_add(1);
                last = view.base + pos as u64 + 1;
            }
            if !code && !glue || view.base + pos as u64 - start > ARMOUR {
                return self.armour_end(start, private, body, last, pos.max(1));
            }
            pos += 1;
        }
        self.mode = Mode::Armour { start, private, body, last };
        pos
    }

    fn armour_end(&mut self, start: u64, private: bool, body: u32, end: u64, pos: usize) -> usize {
        self.mode = Mode::Text;
        let set = std::sync::Arc::clone(&self.set);
        if let Some(id) = set.native(Native::PrivateKey).filter(|_| private && body >= 16) {
            self.hit_at(&set, id, start, end, rank::BLOCK, 0.99);
            let digest = self.key.finalize_reset();
            if digest.first_chunk().is_some_and(|key| set.published_keys.contains(key)) {
                self.weaken(Filter::Published);
            }
            let says = declared(&self.key_begins.0);
            if !self.key_has_lines && says.is_some_and(|length| u64::from(body) * 3 < length) {
                self.weaken(Filter::CutShort);
            }
        }
        pos
    }

    /// The stream ends inside a block: what was seen of it counts.
    pub(crate) fn end(&mut self, _at: u64) {
        if let Mode::Armour { start, private, body, last } = self.mode {
            self.armour_end(start, private, body, last, 0);
        }
    }

    /// `curl -u user:password`, `curl --user …`, `psexec -p password`, `mysql -ppassword`.
    fn flag(&mut self, set: &Set, view: &View<'_>, at: usize) -> Option<usize> {
        let id = set.native(Native::CommandPassword)?;
        let (takes, joins) = (Label::CURL, Label::JOINS_PASSWORD);
        let [takes, joins] = [takes, joins].map(|label| self.recently(view, label, at, COMMAND));
        if !takes && !joins {
            return None;
        }
        let (name, pair): (&[u8], bool) = match view.at(at + 1) {
            b'u' => (b"-u", true),
            b'p' => (b"-p", false),
            _ => (b"--user", true),
        };
        let next = view.at(at + name.len());
        let whole = view.slice(at, at + name.len()) == name
            && match next {
                b' ' | b'"' | b'\'' | b'=' => takes,
                _ => takes && name == b"-u" || joins && name == b"-p",
            };
        whole.then_some(())?;
        self.user_password(set, view, id, at + name.len(), pair)
    }

    /// The argument of a flag: `user:password`, or a password alone.
    pub(crate) fn user_password(
        &mut self,
        set: &Set,
        view: &View<'_>,
        id: DetectorId,
        from: usize,
        pair: bool,
    ) -> Option<usize> {
        let window = view.slice(from, from + 160);
        let gap = window.iter().take_while(|b| matches!(b, b' ' | b'=')).count();
        let quote = window.get(gap).copied().filter(|b| matches!(b, b'"' | b'\''));
        let begin = gap + usize::from(quote.is_some());
        let rest = window.get(begin..)?;
        let stop = rest
            .iter()
            .position(|b| quote.map_or(b.is_ascii_whitespace(), |q| *b == q))
            .unwrap_or(rest.len());
        self.work += stop as u64;
        let argument = rest.get(..stop)?;
        let skip = if pair { argument.iter().position(|b| *b == b':')? + 1 } else { 0 };
        let mut password = argument.get(skip..)?;
        let mut offset = skip;
        if pair && password.is_empty() {
            // A key as the user, without a password.
            password = argument.get(..skip - 1)?;
            offset = 0;
        }
        let plain = pair && (is_stand_in(password) || password.eq_ignore_ascii_case(b"port"));
        if password.len() < 4 || plain || is_placeholder(password) || password.iter().all(u8::is_ascii_digit)
        {
            return None;
        }
        let start = from + begin + offset;
        self.hit(set, view, id, start, start + password.len(), rank::CHECKED, 0.85);
        Some(start)
    }

    /// A format whose mark is inside it: the pattern is anchored at `at`.
    fn fixed(&mut self, set: &Set, view: &View<'_>, native: Native, at: usize) -> Option<usize> {
        let id = set.native(native)?;
        let spec = set.specs.get(usize::from(id.0))?;
        let window = view.slice(at, at + spec.max);
        self.work += 32;
        let length = spec.pattern.as_ref()?.end(window)?;
        self.work += length as u64;
        if is_placeholder(window.get(..length)?) {
            return None;
        }
        self.hit(set, view, id, at, at + length, rank::FORMAT, 0.9);
        Some(at + length)
    }

    /// A street behind its label and an operator: a house number and a word, on either side of each other.
    pub(crate) fn address(&mut self, set: &Set, view: &View<'_>, id: DetectorId, label: usize, from: usize) {
        // The name of a field, not a word of a sentence.
        let before = view.slice(label.saturating_sub(24), label);
        let joined = before.iter().rev().take_while(|b| is_word(**b) || matches!(b, b'_' | b'-')).count();
        if !matches!(
            view.before(label - joined, 1),
            0 | b'\n' | b'"' | b'\'' | b'<' | b',' | b'{' | b';' | b'\t'
        ) {
            return;
        }
        let window = view.slice(from, from + 120);
        let gap = window.iter().take_while(|b| b" \t\":='>\n\x1f".contains(b)).count();
        let operator = window
            .get(..gap)
            .is_some_and(|g| !g.contains(&b'\n') && g.iter().any(|b| matches!(b, b':' | b'=' | b'>')));
        let rest = window.get(gap..).unwrap_or_default();
        let stop = rest
            .iter()
            .position(|b| matches!(b, b'\n' | b'"' | b'<' | b'\t' | b';' | b'|' | b'\x1f'))
            .unwrap_or(rest.len());
        let value = rest.get(..stop).unwrap_or_default();
        self.work += value.len() as u64;
        let words = value.split(|b| matches!(b, b' ' | b',')).filter(|w| !w.is_empty());
        let (mut house, mut street) = (false, false);
        for word in words {
            house |= word.len() <= 6 && word.first().is_some_and(u8::is_ascii_digit);
            street |= word.len() >= 3
                && word.iter().all(|b| b.is_ascii_alphabetic() || *b >= 0x80 || matches!(b, b'.' | b'-'));
        }
        if operator
            && house
            && street
            && (8..=100).contains(&value.len())
            && !value.iter().any(|b| b"@={}()[]\\".contains(b))
        {
            self.hit(set, view, id, from + gap, from + gap + value.len(), rank::SHAPE, 0.6);
        }
    }
}
