//! Whether values that were put back into an edited file are guarded there as they were: whoever writes around a placeholder must
//! not learn what it stands for by reading the file once more.

use std::ops::Range;

use super::{Limits, Source, inspect, rewrite};
use crate::placeholder::{self, Names, PlaceholderKey, token};
use crate::{Certainty, Detectors};

pub(super) struct Guarded<'a> {
    pub detectors: &'a Detectors,
    pub limits: &'a Limits,
}

impl Guarded<'_> {
    /// How sure the surest finding is.
    pub fn certainty(&self, source: Source<'_>, name: &str) -> Option<Certainty> {
        let report = inspect(self.detectors, source, name, self.limits);
        report.items.iter().flat_map(|item| &item.findings).map(|finding| finding.certainty).max()
    }

    /// Where the first of the `values` stands that a redacted copy of `text` would show, whole or in part. All of them are exposed
    /// where nothing in the text is as sure as something was in the original: it might be read without a redaction.
    pub fn exposed(
        &self,
        (text, values): (&[u8], &[Range<usize>]),
        name: &str,
        was: Option<Certainty>,
    ) -> Option<usize> {
        let first = values.first()?.start;
        if self.certainty(Source::Bytes(text), name) < was {
            return Some(first);
        }
        // What cannot be told apart is exposed.
        let Some(hidden) = self.hidden(text, name) else { return Some(first) };
        let is_hidden = |value: &Range<usize>| {
            let upto = hidden.partition_point(|span| span.start <= value.start);
            upto.checked_sub(1)
                .and_then(|at| hidden.get(at))
                .is_some_and(|span| span.start <= value.start && value.end <= span.end)
        };
        values.iter().find(|value| !is_hidden(value)).map(|value| value.start)
    }

    /// What of a text its redacted copy leaves out, in order; nothing where the two cannot be laid side by side.
    fn hidden(&self, text: &[u8], name: &str) -> Option<Vec<Range<usize>>> {
        let mut copy = Vec::new();
        // A key of its own: no placeholder of this copy is ever seen.
        let names = Names::new(PlaceholderKey::from_bytes([0; 32])).keeping_all();
        let source = Source::Bytes(text);
        let (_, names) = rewrite(self.detectors, source, name, self.limits, Some(names), &mut copy).ok()?;
        let kept = names?.into_kept();
        let (mut at, mut copied, mut hidden) = (0, 0, Vec::new());
        for open in memchr::memmem::find_iter(&copy, placeholder::OPEN) {
            let Some(token) = token(self.detectors, &copy, open) else { continue };
            let Some(value) = token.tag.and_then(|tag| kept.get(tag)) else { continue };
            let mut same = copy.get(copied..open)?;
            let (mut raw, mut next) = (&*value.raw, token.range.end);
            // A number got quotes around its placeholder; a text has them around it as written.
            if value.coding == crate::coding::Coding::JsonNumber {
                same = same.strip_suffix(b"\"")?;
                next += usize::from(copy.get(next) == Some(&b'"'));
            }
            let rest = text.get(at..)?.strip_prefix(same)?;
            if !rest.starts_with(raw) {
                raw = &value.text;
            }
            rest.strip_prefix(raw)?;
            let start = at + same.len();
            hidden.push(start..start + raw.len());
            at = start + raw.len();
            copied = next;
        }
        (text.get(at..)? == copy.get(copied..)?).then_some(hidden)
    }
}
