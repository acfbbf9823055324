//! Questions that a program asks the user's terminal, and the terminal's answers among the keys. Only such pass as the terminal
//! answers with facts about itself in a form that is known here; an answer can hold nothing that the program chose. Who reads the
//! keys meanwhile is not given an answer: it is the program's.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Questions without an answer at one time; more do not pass.
const MOST: usize = 32;
/// After this long no answer comes.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest answer.
const LONGEST: usize = 300;

const STRING_END: &[u8] = b"\x1b\\";

/// What an answer looks like.
#[derive(Debug)]
struct Shape {
    begin: Vec<u8>,
    middle: fn(u8) -> bool,
    ends: &'static [&'static [u8]],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Match {
    Whole,
    Part,
    No,
}

/// Questions that wait for their answers.
#[derive(Debug, Default)]
pub struct Queries {
    waiting: VecDeque<(Shape, Instant)>,
    /// The beginning of what may be an answer.
    begun: Vec<u8>,
    /// How much of it the program has already.
    given: usize,
}

/// What the terminal sent, by whom it is for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sent {
    pub answers: Vec<u8>,
    pub keys: Vec<u8>,
}

impl Queries {
    /// A control sequence that passes as a question, now that it does.
    pub fn control(&mut self, parameters: &[u8], last: u8) -> bool {
        let (begin, ends): (&[u8], &'static [&'static [u8]]) = match (parameters, last) {
            (b"5", b'n') => (b"\x1b[", &[b"n"]),
            (b"6", b'n') => (b"\x1b[", &[b"R"]),
            (b"?6", b'n') => (b"\x1b[?", &[b"R"]),
            // Whether it is dark.
            (b"?996", b'n') => (b"\x1b[?997;", &[b"n"]),
            (b"" | b"0", b'c') => (b"\x1b[?", &[b"c"]),
            (b">" | b">0", b'c') => (b"\x1b[>", &[b"c"]),
            (b">" | b">0", b'q') => {
                return self.expect(b"\x1bP>|", |b| (0x20..0x7f).contains(&b), &[STRING_END]);
            }
            (b"?", b'u') => (b"\x1b[?", &[b"u"]),
            // Whether a mode is switched.
            (mode, b'p') if is_mode(mode) => (b"\x1b[?", &[b"$y"]),
            _ => return false,
        };
        self.expect(begin, |b| b.is_ascii_digit() || b == b';', ends)
    }

    /// The same for an operating system command.
    pub fn command(&mut self, text: &[u8]) -> bool {
        let Some(what) = text.strip_suffix(b";?") else { return false };
        let is_colour = match what.strip_prefix(b"4;") {
            Some(index) => !index.is_empty() && index.len() <= 3 && index.iter().all(u8::is_ascii_digit),
            None => matches!(what, b"10" | b"11" | b"12"),
        };
        let begin = [b"\x1b]", what, b";"].concat();
        is_colour
            && self.expect(
                &begin,
                |b| b.is_ascii_alphanumeric() || b":/#".contains(&b),
                &[b"\x07", STRING_END],
            )
    }

    /// A question of ours that every terminal answers, after whatever was asked before.
    pub fn last(&mut self) -> &'static [u8] {
        self.waiting.truncate(MOST - 1);
        self.control(b"", b'c');
        b"\x1b[c"
    }

    /// Whether an answer may still come.
    pub fn wait(&mut self) -> bool {
        self.waiting.retain(|(_, asked)| asked.elapsed() < PATIENCE);
        !self.waiting.is_empty()
    }

    /// All of this reaches the program.
    pub fn see(&mut self, bytes: &[u8]) {
        self.sort(bytes);
        self.given = self.begun.len();
    }

    /// What of this is an answer, and what was typed. What may become an answer is in neither until it is whole.
    pub fn sort(&mut self, bytes: &[u8]) -> Sent {
        let mut sent = Sent::default();
        if !self.wait() && self.begun.is_empty() {
            sent.keys.extend_from_slice(bytes);
            return sent;
        }
        for byte in bytes {
            self.begun.push(*byte);
            let looks: Vec<Match> =
                self.waiting.iter().map(|(shape, _)| shape.matches(&self.begun)).collect();
            if let Some(at) = looks.iter().position(|look| *look == Match::Whole) {
                // A terminal answers in turn: what was asked before has no answer.
                self.waiting.drain(..=at);
                self.hand_out(&mut sent.answers);
            } else if !looks.contains(&Match::Part) {
                if *byte == 0x1b && self.begun.len() > 1 {
                    self.begun.pop();
                    self.hand_out(&mut sent.keys);
                    self.begun.push(*byte);
                } else {
                    self.hand_out(&mut sent.keys);
                }
            }
        }
        sent
    }

    fn hand_out(&mut self, to: &mut Vec<u8>) {
        to.extend_from_slice(self.begun.get(self.given..).unwrap_or_default());
        self.begun.clear();
        self.given = 0;
    }

    fn expect(&mut self, begin: &[u8], middle: fn(u8) -> bool, ends: &'static [&'static [u8]]) -> bool {
        self.wait();
        let fits = self.waiting.len() < MOST;
        if fits {
            self.waiting.push_back((Shape { begin: begin.to_vec(), middle, ends }, Instant::now()));
        }
        fits
    }
}

impl Shape {
    fn matches(&self, bytes: &[u8]) -> Match {
        let Some(rest) = bytes.strip_prefix(&*self.begin) else {
            return if self.begin.starts_with(bytes) { Match::Part } else { Match::No };
        };
        let is_middle = |part: &[u8]| part.iter().all(|b| (self.middle)(*b));
        if self.ends.iter().any(|end| rest.strip_suffix(*end).is_some_and(is_middle)) {
            return Match::Whole;
        }
        let ends_soon = |end: &&[u8]| {
            (1..end.len())
                .any(|n| end.get(..n).and_then(|part| rest.strip_suffix(part)).is_some_and(is_middle))
        };
        if bytes.len() < LONGEST && (is_middle(rest) || self.ends.iter().any(ends_soon)) {
            Match::Part
        } else {
            Match::No
        }
    }
}

/// `? digits $`
fn is_mode(parameters: &[u8]) -> bool {
    let digits = parameters.strip_prefix(b"?").and_then(|rest| rest.strip_suffix(b"$"));
    digits.is_some_and(|digits| {
        !digits.is_empty() && digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(questions: &[&[u8]]) -> Queries {
        let mut queries = Queries::default();
        for question in questions {
            let passes = match question.strip_prefix(b"\x1b[") {
                Some(control) => {
                    let (last, parameters) = control.split_last().unwrap();
                    queries.control(parameters, *last)
                }
                None => queries.command(question.strip_prefix(b"\x1b]").unwrap()),
            };
            assert!(passes, "{question:?}");
        }
        queries
    }

    const ANSWERS: &[(&[u8], &[u8])] = &[
        (b"\x1b[5n", b"\x1b[0n"),
        (b"\x1b[6n", b"\x1b[12;34R"),
        (b"\x1b[?6n", b"\x1b[?12;34;1R"),
        (b"\x1b[?996n", b"\x1b[?997;1n"),
        (b"\x1b[c", b"\x1b[?62;22c"),
        (b"\x1b[0c", b"\x1b[?6c"),
        (b"\x1b[>c", b"\x1b[>1;4000;29c"),
        (b"\x1b[>0q", b"\x1bP>|XTerm(390)\x1b\\"),
        (b"\x1b[?u", b"\x1b[?0u"),
        (b"\x1b[?2026$p", b"\x1b[?2026;2$y"),
        (b"\x1b]11;?", b"\x1b]11;rgb:1e1e/1e1e/2e2e\x07"),
        (b"\x1b]10;?", b"\x1b]10;rgb:ffff/ffff/ffff\x1b\\"),
        (b"\x1b]4;255;?", b"\x1b]4;255;rgb:0/0/0\x1b\\"),
    ];

    #[test]
    fn an_answer_is_told_from_keys_wherever_it_is_cut() {
        for (question, answer) in ANSWERS {
            let all = [b"a\x1b[A", *answer, b"\x1bOPz"].concat();
            for cut in 0..=all.len() {
                let mut queries = asked(&[question]);
                let (first, second) = (queries.sort(&all[..cut]), queries.sort(&all[cut..]));
                assert_eq!([first.answers, second.answers].concat(), *answer, "{question:?} {cut}");
                assert_eq!([first.keys, second.keys].concat(), b"a\x1b[A\x1bOPz", "{question:?} {cut}");
                assert!(!queries.wait());
            }
        }
    }

    #[test]
    fn what_the_program_has_of_an_answer_is_not_given_twice() {
        for cut in 0..9 {
            let mut queries = asked(&[b"\x1b[6n"]);
            queries.see(&b"\x1b[12;34R"[..cut]);
            let sent = queries.sort(&b"\x1b[12;34Rx"[cut..]);
            assert_eq!(
                sent,
                Sent { answers: b"\x1b[12;34R"[cut.min(8)..].to_vec(), keys: b"x".to_vec() },
                "{cut}"
            );
        }
    }

    #[test]
    fn what_nobody_asked_is_no_answer() {
        let mut queries = Queries::default();
        for (_, answer) in ANSWERS {
            assert_eq!(queries.sort(answer).keys, *answer);
        }
        let mut queries = asked(&[b"\x1b[6n"]);
        assert_eq!(queries.sort(b"\x1b]11;rgb:0/0/0\x07").answers, b"");
        assert!(queries.wait());
    }

    #[test]
    fn an_answer_to_a_later_question_ends_the_earlier_ones() {
        let mut queries = asked(&[b"\x1b[?u", b"\x1b[>q", b"\x1b[c"]);
        assert_eq!(queries.sort(b"\x1b[?1c").answers, b"\x1b[?1c");
        assert!(!queries.wait());
    }

    #[test]
    fn what_holds_text_of_the_programs_or_changes_anything_is_no_question() {
        let mut queries = Queries::default();
        for (parameters, last) in [
            (&b"21"[..], b't'),
            (b"14", b't'),
            (b"18", b't'),
            (b"=", b'c'),
            (b"1", b'c'),
            (b"?15", b'n'),
            (b"?26", b'n'),
            (b"4", b'$'),
        ] {
            assert!(!queries.control(parameters, last));
        }
        for text in
            [&b"52;c;?"[..], b"11;red", b"4;1;?;2;?", b"4;;?", b"50;?", b"0;?", b"l;?", b"21;?", b"11;?;?"]
        {
            assert!(!queries.command(text), "{text:?}");
        }
    }

    #[test]
    fn unanswered_questions_are_bounded() {
        let mut queries = Queries::default();
        let passed = (0..1000).filter(|_| queries.control(b"6", b'n')).count();
        assert_eq!(passed, MOST);
        assert_eq!(queries.last(), b"\x1b[c");
        queries.sort(b"\x1b[?6c");
        assert!(!queries.wait());
        let mut queries = asked(&[b"\x1b[>q"]);
        queries.sort(b"\x1bP>|");
        queries.sort(&[b'x'; 10_000]);
        assert!(queries.begun.capacity() < 1024);
    }
}
