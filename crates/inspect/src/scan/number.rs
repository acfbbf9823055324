//! Numbers: groups of digits by their shape, IPv4 addresses, telephone numbers.

use super::filter::Filter;
use super::view::View;
use super::walk::{LABEL_REACH, Walk, is_open, joined_before, rank, whole_fraction};
use crate::detect::index::{Label, Separator, Shape, Start, is_word, word_key};
use crate::detect::{DetectorId, Native, Set};

/// Groups of digits in one number: no number that is looked for has more.
const GROUPS: usize = 8;
/// Digits in one number, an IBAN's being the longest.
const DIGITS: usize = 40;
/// How far a row of numbers is followed on either side, and from how many other groups on it is one.
const ROW: usize = 48;
const LEAST_BESIDE: usize = 3;

/// Groups of digits joined by single separators.
pub(crate) struct Groups {
    /// End of each group, the value of [`Shape`] up to there, and how many digits there are by then.
    ends: [(usize, u64, usize); GROUPS],
    count: usize,
    digits: [u8; DIGITS],
    spaced: bool,
    first: usize,
}

impl Groups {
    fn read(view: &View<'_>, start: usize, first_end: usize) -> Option<Groups> {
        let mut g = Groups {
            ends: [(0, 0, 0); GROUPS],
            count: 0,
            digits: [0; DIGITS],
            spaced: false,
            first: first_end - start,
        };
        let mut shape = Shape::default();
        let (mut at, mut end, mut n) = (start, first_end, 0);
        loop {
            for b in view.slice(at, end) {
                *g.digits.get_mut(n)? = *b;
                n += 1;
            }
            shape.group(end - at);
            *g.ends.get_mut(g.count)? = (end, shape.0, n);
            g.count += 1;
            let separator = view.at(end);
            if g.count == GROUPS || Separator::of(separator).is_none() || !view.at(end + 1).is_ascii_digit() {
                return Some(g);
            }
            shape.separator(separator);
            g.spaced |= separator == b' ';
            at = end + 1;
            end = at + view.slice(at, at + DIGITS).iter().take_while(|b| b.is_ascii_digit()).count();
            if n + (end - at) > DIGITS || is_word(view.at(end)) && !view.at(end).is_ascii_digit() {
                // The next group belongs to something else.
                return Some(g);
            }
        }
    }
}

impl Walk {
    /// A word of digits alone; says where the walk goes on.
    #[inline]
    pub(crate) fn digits(&mut self, set: &Set, view: &View<'_>, start: usize, end: usize) -> usize {
        if view.base + (start as u64) < self.numbers_done || end - start > DIGITS {
            return end;
        }
        let previous = view.before(start, 1);
        let next = view.at(end);
        let grouped = Separator::of(next).is_some() && view.at(end + 1).is_ascii_digit();
        let phone_like = matches!(previous, b'+' | b'(') || next == b')';
        if !grouped
            && !phone_like
            && set.index.single >> (end - start) & 1 == 0
            && !(5..=15).contains(&(end - start))
            && !matches!(next, b'-' | b'+' | b':')
        {
            return end;
        }
        if previous == b'$' || joined_before(view, start) {
            return end;
        }
        self.number(set, view, start, end)
    }

    fn number(&mut self, set: &Set, view: &View<'_>, start: usize, end: usize) -> usize {
        if let Some(next) = self.scientific(set, view, start, end) {
            return next;
        }
        let Some(groups) = Groups::read(view, start, end) else { return end };
        self.work += groups.count as u64 * 4;
        if groups.count >= 4
            && view.at(end) == b'.'
            && let Some(next) = self.ipv4(set, view, start)
        {
            return next;
        }
        let colons = view.at(end) == b':'
            && (end - start >= 8
                || view.at(end + 3) == b':' && view.at(end + 6) == b':' && view.at(end + 9) == b':');
        if colons || matches!(view.at(end), b'-' | b'+') && !view.at(end + 1).is_ascii_whitespace() {
            let wanted = set.index.word(crate::detect::index::WordKind::Digits, end - start);
            if !wanted.is_empty() {
                let next = self.code(set, view, wanted, start, end);
                if next > end {
                    return next;
                }
                self.numbers_done = self.numbers_done.min(view.base + start as u64);
            }
        }
        let mut done = None;
        for (to, shape, digits) in groups.ends.iter().take(groups.count).rev() {
            for wanted in set.index.shape(*shape) {
                let number = Candidate {
                    start,
                    end: *to,
                    digits: groups.digits.get(..*digits).unwrap_or_default(),
                    groups: &groups,
                };
                if self.shape(set, view, wanted.id, wanted.labelled, &number) {
                    done = Some(*to);
                }
            }
            if done.is_some() {
                break;
            }
        }
        let plus = view.before(start, 1) == b'+';
        let phone = if plus || done.is_none() && self.may_dial(set, view, start, &groups) {
            self.phone(set, view, start, &groups)
        } else {
            None
        };
        let next = done.max(phone);
        if let Some(next) = next {
            self.numbers_done = view.base + next as u64;
        }
        next.unwrap_or(end)
    }

    /// A whole number as programs write a float: `4.111111111111111e15`. Says where it ends, when that was one.
    fn scientific(&mut self, set: &Set, view: &View<'_>, start: usize, end: usize) -> Option<usize> {
        if end - start != 1 || view.at(end) != b'.' {
            return None;
        }
        let (digits, to) = whole_of_scientific(view.slice(start, start + LONGEST_FLOAT))?;
        let to = start + to;
        self.work += digits.len() as u64;
        if is_open(view, to) {
            return None;
        }
        let mut shape = Shape::default();
        shape.group(digits.len());
        let groups = Groups {
            ends: [(to, shape.0, digits.len()); GROUPS],
            count: 1,
            digits: [0; DIGITS],
            spaced: false,
            first: digits.len(),
        };
        let number = Candidate { start, end: to, digits: &digits, groups: &groups };
        let mut found = false;
        for wanted in set.index.shape(shape.0) {
            found |= self.shape(set, view, wanted.id, wanted.labelled, &number);
        }
        if found {
            self.numbers_done = view.base + to as u64;
        }
        found.then_some(to)
    }

    /// One shape that a detector asks for.
    fn shape(
        &mut self,
        set: &Set,
        view: &View<'_>,
        id: DetectorId,
        needs_label: bool,
        n: &Candidate<'_>,
    ) -> bool {
        let Some(spec) = set.specs.get(usize::from(id.0)) else { return false };
        self.work += n.digits.len() as u64;
        let is_open = is_open(view, n.end) && !(n.is_one_run() && whole_fraction(view, n.end));
        if is_open || view.at(n.end) == b'%' || spec.check.is_some_and(|check| !check(n.digits)) {
            return false;
        }
        let labelled = self.near(view, spec.label, n.start);
        if !labelled {
            // A count, a moment or an identifier that happens to pass a checksum; or one row of a table of numbers.
            let spared = match () {
                () if needs_label && !(spec.alone && view.alone == Some((n.start, n.end))) => {
                    Some(Filter::NeedsLabel)
                }
                () if counted(set, view, n.start) => Some(Filter::Counted),
                () if n.groups.spaced && n.in_a_row(view) => Some(Filter::InARow),
                () if n.groups.spaced && n.digits.len() < 12 && n.in_prose(view) => Some(Filter::InProse),
                () => None,
            };
            if let Some(filter) = spared {
                self.doubt_place(set, view, id, (n.start, n.end), filter);
                return false;
            }
        }
        let (rank, sure) = if labelled { (rank::LABELLED, 0.98) } else { (rank::CHECKED, 0.9) };
        self.hit(set, view, id, n.start, n.end, rank, sure);
        let behind = self.behind_its_label(view, spec.label, n.start).filter(|_| labelled);
        let weak = [
            (Filter::NoLabel, !labelled && spec.sure_with_label),
            (Filter::Bare, !labelled && n.is_written_out()),
            (Filter::AmongNumbers, !labelled && n.among_numbers(view)),
            (Filter::WordsBetween, spec.sure_beside_label && behind.is_some_and(words_between)),
            (Filter::Call, behind.is_some_and(is_call)),
            (Filter::Example, spec.info.name == "us_ssn" && crate::validate::is_made_up(n.digits)),
            (Filter::Fraction, view.before(n.start, 1) == b'.'),
            (Filter::Signed, !labelled && matches!(view.before(n.start, 1), b'+' | b'-')),
        ];
        weak.into_iter().filter(|w| w.1).for_each(|w| self.weaken(w.0));
        true
    }

    /// What stands between the last label of this meaning and a value.
    fn behind_its_label<'v>(&self, view: &View<'v>, label: Label, at: usize) -> Option<&'v [u8]> {
        let distance = self.distance(view, label, at).filter(|d| *d <= LABEL_REACH)?;
        Some(view.slice(at - distance as usize, at))
    }

    fn ipv4(&mut self, set: &Set, view: &View<'_>, start: usize) -> Option<usize> {
        let id = set.native(Native::Ip)?;
        let mut at = start;
        for part in 0..4 {
            let length = view.slice(at, at + 4).iter().take_while(|b| b.is_ascii_digit()).count();
            let octet = view.slice(at, at + length);
            let value = octet.iter().fold(0u32, |n, b| n * 10 + u32::from(b - b'0'));
            if !(1..=3).contains(&length) || value > 255 || length > 1 && octet.first() == Some(&b'0') {
                return None;
            }
            at += length;
            if part < 3 {
                (view.at(at) == b'.').then_some(())?;
                at += 1;
            }
        }
        if is_open(view, at) {
            return None;
        }
        let called_version = self.distance(view, Label::VERSION, start).is_some_and(|d| d <= 12);
        if called_version || is_version_of_a_product(view, start, at) {
            self.spare(view, id, (start, at), Filter::Version);
            return None;
        }
        self.hit(set, view, id, start, at, rank::FORMAT, 0.9);
        self.numbers_done = view.base + at as u64;
        Some(at)
    }

    /// Whether anything here hints at a telephone number: a bracket, a trunk zero, 3-3-4, a label not far behind.
    fn may_dial(&self, set: &Set, view: &View<'_>, start: usize, groups: &Groups) -> bool {
        let [(first, ..), (second, ..), ..] = groups.ends;
        let grouped = groups.count > 1;
        let american = grouped && matches!(groups.first, 1 | 3) && (groups.first == 1 || second - first == 4);
        let bracket = matches!(view.before(start, 1), b'(' | b'+') || view.at(first) == b')';
        if bracket || american || grouped && groups.digits.first() == Some(&b'0') && groups.first > 1 {
            return true;
        }
        let label = |l: Label| self.recently(view, l, start, 40);
        let phone = set.native(Native::Phone).and_then(|id| set.specs.get(usize::from(id.0)));
        phone.is_some_and(|s| label(s.label))
            || grouped
                && (label(Label::PHONE_CONTEXT)
                    || view.at(groups.ends.get(groups.count - 1).map_or(0, |e| e.0)) == b' ')
    }

    /// A telephone number: international, North American, with a trunk zero, or anything sensible near a label.
    fn phone(&mut self, set: &Set, view: &View<'_>, digits: usize, groups: &Groups) -> Option<usize> {
        let id = set.native(Native::Phone)?;
        let label = set.specs.get(usize::from(id.0))?.label;
        let mut start = digits;
        while matches!(view.before(start, 1), b'(' | b'+') && digits - start < 2 {
            start -= 1;
        }
        if is_word(view.before(start, 1))
            || matches!(view.before(start, 1), b'.' | b'=' | b'/') && view.before(start, 1) != b'='
        {
            return None;
        }
        let number = Dialled::read(view, start)?;
        self.work += (number.end - start) as u64;
        let international = view.at(start) == b'+' || view.at(start) == b'(' && view.at(start + 1) == b'+';
        let near = self.distance(view, label, start).is_some_and(|d| d <= 40);
        let called = near || self.followed_by(set, view, label, number.end);
        let context = called || self.distance(view, Label::PHONE_CONTEXT, start).is_some_and(|d| d <= 24);
        let is_counted = || !self.asked.leaves && counted(set, view, start);
        if !called && (is_counted() || international && !number.grouped && number.count < 10) {
            return None;
        }
        let fits = match () {
            () if number.is_date() || number.fraction => false,
            () if !called && is_zip_code(view, start, number.end) => false,
            () if international => number.international(),
            () if number.north_american(called || context) => number.grouped || called,
            () if number.trunk() => number.grouped && (number.count >= 9 || called || context),
            () if called => {
                (6..=15).contains(&number.count) && (number.grouped || (7..=15).contains(&number.count))
            }
            () => context && number.grouped && (6..=13).contains(&number.count),
        };
        if !fits
            || !self.asked.leaves
                && groups.spaced
                && !context
                && !international
                && (Candidate { start: digits, end: number.end, digits: &[], groups }).in_a_row(view)
        {
            return None;
        }
        let (rank, sure) = if called { (rank::LABELLED, 0.95) } else { (rank::SHAPE, 0.8) };
        // An opening bracket is part of the number only with its closing one.
        let from = if view.at(start) == b'(' && !view.slice(start, number.end).contains(&b')') {
            start + 1
        } else {
            start
        };
        self.hit(set, view, id, from, number.end, rank, sure);
        Some(number.end)
    }

    /// Whether one of a label's words comes right behind a value (`555-0100 fax`).
    fn followed_by(&self, set: &Set, view: &View<'_>, label: Label, end: usize) -> bool {
        let gap =
            view.slice(end, end + 3).iter().take_while(|b| matches!(b, b' ' | b'-' | b'(' | b'\t')).count();
        let at = end + gap;
        let word = view.slice(at, at + 16);
        let length = word.iter().take_while(|b| is_word(**b)).count();
        let Some(word) = word.get(..length).filter(|_| gap > 0 && length >= 2) else { return false };
        set.index.starts(word_key(word)).iter().any(|s| matches!(s, Start::Label { text, label: l, .. } if *l == label && word.eq_ignore_ascii_case(text)))
    }
}

/// A postal code of the United States with its four digits more, behind the two letters of a state.
fn is_zip_code(view: &View<'_>, start: usize, end: usize) -> bool {
    let state = view.slice(start.saturating_sub(4), start);
    let is_capital = |at: usize| state.get(at).is_some_and(u8::is_ascii_uppercase);
    end - start == 10
        && view.at(start + 5) == b'-'
        && state.last() == Some(&b' ')
        && is_capital(1)
        && is_capital(2)
        && !state.first().is_some_and(u8::is_ascii_alphanumeric)
}

/// The longest float that is looked at: as `numpy.savetxt` writes it.
const LONGEST_FLOAT: usize = 32;
/// Digits of a whole number at its end that may be zeros: more are a magnitude, not a number that somebody has.
const MOST_ZEROS: usize = 4;

/// The digits of the whole number that a float in scientific notation stands for, and where it ends.
fn whole_of_scientific(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let run =
        |from: usize| text.get(from..).unwrap_or_default().iter().take_while(|b| b.is_ascii_digit()).count();
    let fraction = text.get(2..2 + run(2))?;
    let mut at = 2 + fraction.len();
    matches!(text.get(at), Some(b'e' | b'E')).then_some(())?;
    at += 1 + usize::from(text.get(at + 1) == Some(&b'+'));
    let exponent = text.get(at..at + run(at)).filter(|e| e.len() <= 3).and_then(crate::validate::number)?;
    let end = at + run(at);
    let exponent = usize::try_from(exponent).ok().filter(|e| (7..=18).contains(e))?;
    let zeros = fraction.iter().rev().take_while(|b| **b == b'0').count();
    let mut digits = vec![*text.first()?];
    digits.extend_from_slice(fraction.get(..fraction.len() - zeros)?);
    let missing = (exponent + 1).checked_sub(digits.len()).filter(|n| *n <= MOST_ZEROS)?;
    digits.extend(std::iter::repeat_n(b'0', missing));
    Some((digits, end))
}

/// Whether the word right before a number, an operator and quotes apart, says that it counts or names something.
fn counted(set: &Set, view: &View<'_>, at: usize) -> bool {
    let before = view.slice(at.saturating_sub(24), at);
    let glue = before
        .iter()
        .rev()
        .take_while(|b| matches!(b, b' ' | b'\t' | b'"' | b'\'' | b':' | b'=' | b'#' | b'>' | b'\x1f'))
        .count();
    let rest = before.get(..before.len() - glue).unwrap_or_default();
    let length = rest.iter().rev().take_while(|b| is_word(**b)).count();
    let word = rest.get(rest.len() - length..).unwrap_or_default();
    let hump = word.iter().rposition(u8::is_ascii_uppercase).unwrap_or(0);
    glue <= 6
        && length >= 2
        && (set.index.says(word, Label::NOT_A_NUMBER)
            || set.index.says(word.get(hump..).unwrap_or_default(), Label::NOT_A_NUMBER))
}

/// Words that may stand between a label and its date: of grammar, of how dates are written, of whose it is.
const OF_A_LABEL: &[&str] = &[
    "is",
    "was",
    "are",
    "on",
    "of",
    "the",
    "a",
    "an",
    "my",
    "his",
    "her",
    "date",
    "birth",
    "born",
    "value",
    "dd",
    "d",
    "mm",
    "m",
    "yyyy",
    "yy",
    "iso",
    "format",
    "patient",
    "employee",
    "client",
    "customer",
    "applicant",
    "member",
    "insured",
    "child",
    "mother",
    "father",
    "spouse",
    "user",
    "n",
    "nbsp",
    "td",
    "th",
    "b",
    "tr",
    "p",
];

/// Whether words divide a label from its value, those in brackets and tags left out.
fn words_between(between: &[u8]) -> bool {
    let between = between.rsplit(|b| matches!(b, b'>' | b')')).next().unwrap_or_default();
    let mut words = between.split(|b| !is_word(*b)).filter(|w| w.iter().any(|b| !b.is_ascii_digit()));
    words.any(|w| !OF_A_LABEL.iter().any(|of| w.eq_ignore_ascii_case(of.as_bytes())))
}

/// Whether a label is called with the number (`sin(130692544)`): no quotes, nothing but an operator between.
fn is_call(between: &[u8]) -> bool {
    between.strip_prefix(b"(").is_some_and(|rest| rest.iter().all(|b| b" .+-*/(".contains(b)))
}

struct Candidate<'a> {
    start: usize,
    end: usize,
    digits: &'a [u8],
    groups: &'a Groups,
}

impl Candidate<'_> {
    /// Whether nothing divides its digits.
    fn is_one_run(&self) -> bool {
        self.end - self.start == self.digits.len()
    }

    /// Whether it is a float in scientific notation.
    fn is_written_out(&self) -> bool {
        self.groups.count == 1 && !self.is_one_run()
    }

    /// Whether blanks join it to words on either side: short groups there are house numbers as often as anything.
    fn in_prose(&self, view: &View<'_>) -> bool {
        let word = |blank: u8, next: u8| blank == b' ' && is_word(next);
        word(view.before(self.start, 1), view.before(self.start, 2))
            || word(view.at(self.end), view.at(self.end + 1))
    }

    /// Whether the row goes on with a group as long as the first, before or behind: a table, not a number.
    fn in_a_row(&self, view: &View<'_>) -> bool {
        let before = view.slice(self.start.saturating_sub(24), self.start.saturating_sub(1));
        let earlier = before.iter().rev().take_while(|b| b.is_ascii_digit()).count();
        let behind =
            view.slice(self.end + 1, self.end + 24).iter().take_while(|b| b.is_ascii_digit()).count();
        view.before(self.start, 1) == b' ' && earlier == self.groups.first
            || view.at(self.end) == b' ' && behind == self.groups.first
    }
}

impl Candidate<'_> {
    /// Whether the row goes on with other groups of digits or hex, three different ones at least: a table or a dump.
    fn among_numbers(&self, view: &View<'_>) -> bool {
        let separator = view.at(self.start + self.groups.first);
        if self.groups.count < 2 || !matches!(separator, b' ' | b'-') {
            return false;
        }
        let group = |g: &&[u8]| {
            (1..=8).contains(&g.len())
                && g.iter().all(u8::is_ascii_hexdigit)
                && (g.iter().any(u8::is_ascii_digit) || g.len() >= 4)
        };
        let line = |b: &u8| *b == b'\n';
        let before = view.slice(self.start.saturating_sub(ROW), self.start);
        let before = before.rsplit(line).next().unwrap_or_default();
        let before = before.strip_suffix(&[separator]).unwrap_or_default();
        let behind = view.slice(self.end, self.end + ROW);
        let behind = behind.split(line).next().unwrap_or_default();
        let behind = behind.strip_prefix(&[separator]).unwrap_or_default();
        let mut groups: Vec<&[u8]> = Vec::new();
        groups.extend(before.rsplit(|b| *b == separator).map(unbracketed).take_while(group));
        groups.extend(behind.split(|b| *b == separator).map(unbracketed).take_while(group));
        groups.sort_unstable();
        groups.dedup();
        groups.len() >= LEAST_BESIDE
    }
}

/// A group without the brackets, quotes and commas around it.
fn unbracketed(group: &[u8]) -> &[u8] {
    let mark = |b: &u8| b"(){}[]'\",".contains(b);
    let from = group.iter().take_while(|b| mark(b)).count();
    let to = group.iter().rev().take_while(|b| mark(b)).count();
    group.get(from..group.len().saturating_sub(to)).unwrap_or_default()
}

/// What was dialled.
struct Dialled {
    end: usize,
    count: usize,
    digits: [u8; 20],
    /// Lengths of the first groups.
    lengths: [usize; 6],
    parts: usize,
    grouped: bool,
    fraction: bool,
}

impl Dialled {
    fn read(view: &View<'_>, start: usize) -> Option<Dialled> {
        let mut d = Dialled {
            end: start,
            count: 0,
            digits: [0; 20],
            lengths: [0; 6],
            parts: 0,
            grouped: false,
            fraction: false,
        };
        let mut at = start;
        let mut gap = 0;
        loop {
            match view.at(at) {
                b @ b'0'..=b'9' => {
                    if gap > 0 || d.count == 0 {
                        d.parts += 1;
                        d.grouped |= d.parts > 1;
                    }
                    *d.digits.get_mut(d.count)? = b - b'0';
                    d.count += 1;
                    if let Some(n) = d.lengths.get_mut(d.parts - 1) {
                        *n += 1;
                    }
                    gap = 0;
                    d.end = at + 1;
                }
                // A float.
                b'.' if d.parts == 1 && gap == 0 && whole_fraction(view, at) => break,
                b @ (b' ' | b'-' | b'.' | b'(' | b')' | b'/' | b'+') if gap < 2 => {
                    if b == b'+' && d.count > 0 || b == b'(' && d.count > 4 {
                        break;
                    }
                    gap += 1;
                }
                _ => break,
            }
            at += 1;
        }
        d.fraction = d.parts == 2 && view.slice(start, d.end).contains(&b'.');
        // An extension: x123, ext. 123.
        if matches!(view.at(d.end), b'x' | b'X') && view.at(d.end + 1).is_ascii_digit() {
            d.end += 1 + view.slice(d.end + 1, d.end + 7).iter().take_while(|b| b.is_ascii_digit()).count();
        }
        let next = view.at(d.end);
        let open = is_word(next) || next == b'_' || next == b'-' && view.at(d.end + 1).is_ascii_digit();
        (d.count >= 6 && !open && !matches!(next, b':' | b'%')).then_some(d)
    }

    fn number(&self, from: usize, to: usize) -> u64 {
        self.digits.get(from..to).unwrap_or_default().iter().fold(0, |n, d| n * 10 + u64::from(*d))
    }

    /// E.164: a country code that exists, 8 to 15 digits, ten behind +1.
    fn international(&self) -> bool {
        let (one, two, three) = (self.number(0, 1), self.number(0, 2), self.number(0, 3));
        match () {
            () if one == 1 => self.count == 11,
            () if one == 7 => self.count == 11,
            () if matches!(two, 20 | 27 | 30..=34 | 36 | 39..=41 | 43..=49 | 51..=58 | 60..=66 | 81 | 82 | 84 | 86 | 90..=95 | 98) => {
                (8..=15).contains(&self.count)
            }
            () => {
                matches!(three, 211..=299 | 350..=389 | 420 | 421 | 423 | 500..=509 | 590..=599 | 670..=692 | 850..=886 | 960..=998)
                    && (9..=15).contains(&self.count)
            }
        }
    }

    /// Ten digits as 3-3-4, or eleven behind a 1 or 001.
    fn north_american(&self, lenient: bool) -> bool {
        let skip = match (self.count, self.number(0, 1), self.number(0, 3)) {
            (10, ..) => 0,
            (11, 1, _) => 1,
            (13, _, 1) => 3,
            _ => return false,
        };
        let groups = self.lengths.get(usize::from(skip > 0)..).unwrap_or_default();
        let shaped = !self.grouped || groups.starts_with(&[3, 3, 4]);
        let (area, exchange) = (self.digits.get(skip).copied(), self.digits.get(skip + 3).copied());
        shaped && (lenient || area >= Some(2) && exchange >= Some(2))
    }

    /// A national number with its trunk zero, as most of the world writes them.
    fn trunk(&self) -> bool {
        self.digits.first() == Some(&0)
            && self.number(0, 2) != 0
            && (9..=11).contains(&self.count)
            && self.parts <= 5
            && self.lengths.first().is_some_and(|n| (2..=5).contains(n))
    }

    fn is_date(&self) -> bool {
        let three = self.parts == 3 && self.count <= 8;
        let year = |y| (1900..=2099).contains(&y);
        three
            && (self.lengths.starts_with(&[4, 2, 2]) && year(self.number(0, 4))
                || self.lengths.starts_with(&[2, 2, 4]) && year(self.number(4, 8))
                || self.count < 7)
            || self.parts == 1
                && self.count == 8
                && year(self.number(0, 4))
                && self.number(4, 6) <= 12
                && self.number(6, 8) <= 31
    }
}

const _: () = assert!(LABEL_REACH as usize <= super::view::LOOK_BACK);

/// `Name/1.2.3.4`, as programs write themselves into documents and requests: no part of a path or of an address.
fn is_version_of_a_product(view: &View<'_>, start: usize, end: usize) -> bool {
    let Some((b'/', name)) = view.slice(start.saturating_sub(40), start).split_last() else { return false };
    let is_part = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'+');
    let length = name.iter().rev().take_while(|b| is_part(b)).count();
    let (before, word) = name.split_at(name.len() - length);
    let in_a_path = matches!(before.last(), Some(b'/' | b'.' | b':' | b'\\' | b'@' | b'%' | b'~'));
    length >= 2
        && word.first().is_some_and(u8::is_ascii_uppercase)
        && !in_a_path
        && !matches!(view.at(end), b'/' | b':')
}
