//! Looks at pieces that were sent one after the other: whether the newest of them complete something.

use std::collections::HashSet;

use chaperone_inspect::Finding;
use chaperone_inspect::outgoing::{Outgoing, Passage, Seen};

use super::findings::{OutboundFindings, of, to_findings};
use super::personal;
use super::pieces::Stream;
use super::secrets::Secrets;
use super::slots::Kind;

/// What is found by the label before it alone.
const BEHIND_A_LABEL: [&str; 2] = ["generic_secret", "generic_password"];
/// In which readings of pieces passages count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passages {
    All,
    /// The same; the pieces are names of paths.
    AllOfNames,
    /// Where the pieces together had to be decoded.
    Decoded,
    /// The same; what words one by one make together is noted, so that what goes on from them in another way counts from there.
    Noted,
    None,
}

impl Passages {
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Value | Kind::Name | Kind::Message | Kind::Word | Kind::Body => Self::All,
            Kind::Path => Self::Decoded,
            Kind::Label => Self::None,
        }
    }

    /// Names of packages one after the other may begin with what could be a label (`js-tokens`): there a value counts by its own form.
    /// What was read is recognised without it.
    fn count_key(self, finding: &Finding) -> bool {
        let is_of_path = matches!(self, Self::AllOfNames | Self::Decoded | Self::Noted);
        !is_of_path || !BEHIND_A_LABEL.contains(&&*finding.detector)
    }

    fn count(self, passage: &Passage) -> bool {
        match self {
            Self::All | Self::AllOfNames | Self::Noted => true,
            Self::Decoded => passage.place.is_joined_and_decoded(),
            Self::None => false,
        }
    }
}

/// What pieces are looked at with.
pub(super) struct Looker<'a> {
    pub outgoing: &'a Outgoing,
    pub secrets: &'a Secrets,
    /// Personal data that was found where it stands.
    pub whole: &'a HashSet<u64>,
}

impl Looker<'_> {
    /// Whether these bytes hold a value that is known, which was judged where they stand.
    pub fn holds_known(&self, bytes: &[u8]) -> bool {
        of(&self.secrets.known().read()).is_in(bytes)
    }

    /// The same, or a key by themselves.
    pub fn holds_secret(&self, bytes: &[u8]) -> bool {
        self.outgoing.holds_secret(bytes, &of(&self.secrets.known().read()))
    }

    /// Whether a passage of what was read stands in these bytes by themselves.
    pub fn holds_passage(&self, bytes: &[u8]) -> bool {
        !self.outgoing.look_at_pieces(&[bytes], &of(&self.secrets.known().read())).passages.is_empty()
    }

    pub fn look(&self, stream: &mut Stream, passages: Passages, outbound: &mut OutboundFindings) -> bool {
        if stream.all.pieces.len() < 2 {
            return false;
        }
        let look = |pieces: &[&[u8]]| {
            let known = self.secrets.known().read();
            self.outgoing.look_at_pieces(pieces, &of(&known))
        };
        self.add(stream, look, passages, outbound)
    }

    /// Whether the newest pieces complete something, which is added to what was found.
    pub fn add(
        &self,
        stream: &mut Stream,
        look: impl Fn(&[&[u8]]) -> Seen,
        passages: Passages,
        outbound: &mut OutboundFindings,
    ) -> bool {
        // A key or a passage is one however it was cut; digits of two requests make a number only now and then.
        let personal = match passages {
            Passages::None => Vec::new(),
            _ => personal::across(self.outgoing, &stream.sent.all().concat(), self.whole),
        };
        let matched = |seen: &Seen| -> u64 {
            seen.passages.iter().filter(|p| passages.count(p)).map(|p| p.hit.matched_bytes).sum()
        };
        let counts = |seen: &Seen| {
            passages != Passages::Noted || seen.passages.iter().any(|p| p.place.is_joined_and_decoded())
        };
        let is_key = |finding: &Finding| is_key_in_pieces(finding) && passages.count_key(finding);
        if stream.look() {
            for pieces in [&mut stream.sent, &mut stream.all] {
                let seen = look(&pieces.older());
                pieces.found = matched(&seen);
                pieces.keys = keys(&seen.findings);
            }
        }
        let mut seen = look(&stream.sent.all());
        seen.findings.retain(is_key);
        seen.registered.retain(|r| r.place.is_joined());
        seen.values.retain(|v| v.place.is_joined());
        let has_keys = !seen.findings.is_empty()
            || !seen.registered.is_empty()
            || !seen.values.is_empty()
            || !personal.is_empty();
        let in_sent = matched(&seen);
        stream.sent.keys = keys(&seen.findings);
        let mut is_more = in_sent > stream.sent.found && counts(&seen);
        let mut in_all = in_sent;
        let mut goes_on = false;
        if stream.is_refused_kept() {
            let mut seen_in_all = look(&stream.all.all());
            in_all = matched(&seen_in_all);
            is_more |= in_all > stream.all.found && counts(&seen_in_all);
            seen.passages.extend(seen_in_all.passages);
            seen_in_all.findings.retain(is_key);
            // A key of which a piece was refused is longer by this one.
            let before = std::mem::replace(&mut stream.all.keys, keys(&seen_in_all.findings));
            seen_in_all
                .findings
                .retain(|f| !before.is_empty() && f.values.iter().any(|v| !before.contains(v)));
            goes_on = !seen_in_all.findings.is_empty();
            if seen.findings.is_empty() {
                seen.findings = seen_in_all.findings;
            }
        }
        stream.all.found = in_all;
        if !has_keys && !is_more && !goes_on {
            stream.sent.found = in_sent;
            return false;
        }
        let before = std::mem::replace(&mut stream.sent.found, in_sent);
        stream.refuse(!goes_on && (has_keys || in_sent > before));
        stream.sent.found = before;
        let findings = seen.findings.clone();
        let seen = to_findings(&self.secrets.known().read(), seen);
        outbound.findings.extend(findings);
        for finding in personal {
            // Another stream has shown the same.
            let is_known =
                outbound.findings.iter().any(|f| finding.values.iter().all(|v| f.values.contains(v)));
            if !is_known {
                outbound.findings.push(finding);
            }
        }
        if outbound.registered.is_empty() {
            outbound.registered.extend(seen.registered);
        }
        outbound.has_read_secret |= seen.has_read_secret;
        if (is_more || seen.has_read_secret) && outbound.passages.is_empty() {
            outbound.passages.extend(seen.passages);
        }
        outbound.in_target |= stream.in_target;
        true
    }
}

fn is_key_in_pieces(finding: &Finding) -> bool {
    finding.category == "secret" && finding.place.is_joined()
}

fn keys(findings: &[Finding]) -> HashSet<u64> {
    findings.iter().flat_map(|f| f.values.iter().copied()).collect()
}
