//! The escape filter: what an agent prints can move the cursor, colour text, make links of it and ask the terminal what it is, but
//! can neither set the title, nor reach the clipboard, nor make the terminal type an answer into whatever reads it next, nor
//! switch what cannot be put back.

use super::link;
use super::modes::Modes;
use super::queries::Queries;

/// Longest control sequence that is passed on; a longer one is dropped whole.
const MAX_SEQUENCE: usize = 64;
/// Longest operating system command.
const MAX_COMMAND: usize = 2300;

/// The escape filter; keeps its state between chunks.
#[derive(Debug, Default)]
pub struct Filter {
    state: State,
    sequence: Vec<u8>,
    /// Continuation bytes of a UTF-8 character that are still to come.
    pending: u8,
    /// What came of it. It is passed on when it is whole: a terminal may read an end that does not belong to its start as it likes.
    character: Vec<u8>,
    /// What the program has switched by now.
    modes: Modes,
    /// What was passed on last.
    last: u8,
    /// What the program asked; nothing is asked where no keys go to the program.
    queries: Option<Queries>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    Escape,
    Control,
    /// DCS, APC, PM, SOS: swallowed to their end.
    Text,
    TextEscape,
    /// OSC: looked at when it is whole.
    Command,
    CommandEscape,
    /// After `ESC (` and the like: one more byte.
    Charset,
    /// A control sequence too long to be honest: swallowed to its end.
    Overlong,
}

impl Filter {
    /// One whose program has the keys of the terminal, and may ask.
    pub fn with_answers() -> Self {
        Self { queries: Some(Queries::default()), ..Self::default() }
    }

    /// What the program asked.
    pub fn queries(&mut self) -> Option<&mut Queries> {
        self.queries.as_mut()
    }

    /// What is switched now, by what was passed on.
    pub fn modes(&self) -> &Modes {
        &self.modes
    }

    /// Pass a chunk on, without what is hostile.
    pub fn pass(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        for byte in chunk {
            self.byte(*byte, out);
        }
        self.last = out.last().copied().unwrap_or(self.last);
    }

    /// Whether what was passed on ended a line, or there was nothing.
    pub fn ended_a_line(&self) -> bool {
        matches!(self.last, 0 | b'\n')
    }

    fn byte(&mut self, byte: u8, out: &mut Vec<u8>) {
        match self.state {
            State::Ground => self.ground(byte, out),
            State::Escape => self.escape(byte, out),
            State::Control => self.control(byte, out),
            State::Charset => {
                self.state = State::Ground;
                let which = self.sequence.get(1).copied().unwrap_or_default();
                // Of the line attributes only the test pattern: letters of twice the height stay as they are.
                let passes = if which == b'#' { byte == b'8' } else { byte.is_ascii_alphanumeric() };
                if passes {
                    self.modes.charset(which, byte);
                    out.extend_from_slice(&self.sequence);
                    out.push(byte);
                }
            }
            State::Text => match byte {
                0x07 | 0x18 | 0x1a => self.state = State::Ground,
                0x1b => self.state = State::TextEscape,
                _ => {}
            },
            State::Command => match byte {
                0x07 => self.command(b"\x07", out),
                0x18 | 0x1a => self.state = State::Ground,
                0x1b => self.state = State::CommandEscape,
                // One too long is none.
                _ if self.sequence.len() > MAX_COMMAND => {}
                _ => self.sequence.push(byte),
            },
            State::CommandEscape => {
                if byte == b'\\' {
                    self.command(b"\x1b\\", out);
                } else {
                    self.escape(byte, out);
                }
            }
            State::Overlong => match byte {
                0x1b => self.state = State::Escape,
                0x18 | 0x1a | 0x40..=0x7e => self.state = State::Ground,
                _ => {}
            },
            State::TextEscape => {
                self.state = State::Ground;
                if byte != b'\\' {
                    self.state = State::Escape;
                    self.escape(byte, out);
                }
            }
        }
    }

    fn ground(&mut self, byte: u8, out: &mut Vec<u8>) {
        if self.pending > 0 {
            if continues(&self.character, byte) {
                self.pending -= 1;
                self.character.push(byte);
                // U+0080 to U+009F are control characters in two bytes.
                if self.pending == 0 && !matches!(*self.character, [0xc2, ..0xa0]) {
                    out.extend_from_slice(&self.character);
                }
                return;
            }
            self.pending = 0;
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
        match byte {
            0x1b => self.state = State::Escape,
            0x0e | 0x0f => {
                self.modes.shift(byte == 0x0e);
                out.push(byte);
            }
            // Bell, backspace, tab, line feeds, carriage return; others do nothing good.
            0x07..=0x0d => out.push(byte),
            0x00..=0x1f | 0x7f..=0xc1 => {}
            0x20..=0x7e => out.push(byte),
            0xc2..=0xdf => self.begin(1, byte),
            0xe0..=0xef => self.begin(2, byte),
            0xf0..=0xf4 => self.begin(3, byte),
            0xf5..=0xff => {}
        }
    }

    /// A character of several bytes begins.
    fn begin(&mut self, pending: u8, byte: u8) {
        self.pending = pending;
        self.character.clear();
        self.character.push(byte);
    }

    fn escape(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.sequence.clear();
        self.sequence.extend_from_slice(&[0x1b, byte]);
        self.state = match byte {
            b'[' => State::Control,
            b']' => State::Command,
            b'P' | b'_' | b'^' | b'X' => State::Text,
            b'(' | b')' | b'*' | b'+' | b'#' => State::Charset,
            // Save, restore, index, next line, tab set, reverse index, keypad modes, reset.
            b'7' | b'8' | b'D' | b'E' | b'H' | b'M' | b'=' | b'>' | b'c' => {
                self.modes.escape(byte, out);
                out.extend_from_slice(&self.sequence);
                State::Ground
            }
            0x1b => State::Escape,
            _ => State::Ground,
        };
    }

    fn control(&mut self, byte: u8, out: &mut Vec<u8>) {
        match byte {
            0x20..=0x3f => {
                if self.sequence.len() < MAX_SEQUENCE {
                    self.sequence.push(byte);
                } else {
                    self.state = State::Overlong;
                }
            }
            0x40..=0x7e => {
                self.state = State::Ground;
                let parameters = self.sequence.get(2..).unwrap_or_default();
                if matches!(byte, b'h' | b'l') {
                    self.modes.switch(parameters, byte, out);
                } else if is_of_the_keyboard(parameters, byte) {
                    self.modes.keyboard(parameters, byte, out);
                } else if self.may_pass(byte) {
                    self.modes.control(&self.sequence, byte);
                    out.extend_from_slice(&self.sequence);
                    out.push(byte);
                } else if self.queries.as_mut().is_some_and(|q| q.control(parameters, byte)) {
                    out.extend_from_slice(&self.sequence);
                    out.push(byte);
                }
            }
            0x1b => self.state = State::Escape,
            0x18 | 0x1a => self.state = State::Ground,
            _ => {}
        }
    }

    /// A whole operating system command: a link, or a question about a colour.
    fn command(&mut self, end: &[u8], out: &mut Vec<u8>) {
        self.state = State::Ground;
        let text = self.sequence.get(2..).unwrap_or_default();
        if self.sequence.len() > MAX_COMMAND {
            return;
        }
        if let Some(link) = text.strip_prefix(b"8;") {
            // One that does not pass ends the one before it, as it would have done.
            self.modes.link(link::passed(link).unwrap_or_else(|| link::END.to_vec()), out);
        } else if self.queries.as_mut().is_some_and(|q| q.command(text)) {
            out.extend_from_slice(&self.sequence);
            out.extend_from_slice(end);
        }
    }

    /// What moves the cursor, erases, inserts, scrolls and colours passes. Everything else stays here: what makes the terminal
    /// answer, what moves and names its window, and what one terminal alone has a meaning for, such as the Linux console,
    /// which switches to another console, powers the screen down and sets the bell by `CSI n ]`.
    fn may_pass(&self, last: u8) -> bool {
        let parameters = self.sequence.get(2..).unwrap_or_default();
        let plain = parameters.iter().all(|b| b.is_ascii_digit() || *b == b';' || *b == b':');
        match last {
            // Cursor style only: `CSI digits SP q`.
            b'q' => parameters.last() == Some(&b' '),
            // Soft reset only: `CSI ! p`; mode queries have a dollar.
            b'p' => parameters == b"!",
            // The cursor's place again, as `ESC 8`.
            b'u' => parameters.is_empty(),
            // What the screen shows, and not what the user may scroll back to.
            b'J' => parameters.split(|b| matches!(b, b';' | b':')).all(is_on_screen) && plain,
            b'@'..=b'I' | b'K'..=b'M' | b'P' | b'S' | b'T' | b'X' | b'Z' => plain,
            b'`' | b'a' | b'b' | b'd'..=b'g' | b'j' | b'k' | b'm' | b'r' | b's' => plain,
            _ => false,
        }
    }
}

/// Whether a byte goes on with what there is of a character: in its shortest form, and no half of a pair (RFC 3629, section 4).
fn continues(character: &[u8], byte: u8) -> bool {
    match *character {
        [0xe0] => (0xa0..=0xbf).contains(&byte),
        [0xed] => (0x80..=0x9f).contains(&byte),
        [0xf0] => (0x90..=0xbf).contains(&byte),
        [0xf4] => (0x80..=0x8f).contains(&byte),
        _ => byte & 0xc0 == 0x80,
    }
}

/// Whether it says how keys are wanted, and is not the cursor's `CSI u` or a colour.
fn is_of_the_keyboard(parameters: &[u8], last: u8) -> bool {
    match last {
        b'u' => matches!(parameters.first(), Some(b'>' | b'<' | b'=')),
        b'm' => parameters.first() == Some(&b'>'),
        _ => false,
    }
}

/// Whether a parameter erases a part of the screen, or all of it.
fn is_on_screen(parameter: &[u8]) -> bool {
    let number =
        parameter.iter().position(|b| *b != b'0').and_then(|at| parameter.get(at..)).unwrap_or_default();
    matches!(number, b"" | b"1" | b"2")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filtered(bytes: &[u8]) -> Vec<u8> {
        let mut whole = Vec::new();
        Filter::default().pass(bytes, &mut whole);
        // Every split gives the same.
        for cut in 0..bytes.len() {
            let (mut filter, mut parts) = (Filter::default(), Vec::new());
            filter.pass(&bytes[..cut], &mut parts);
            filter.pass(&bytes[cut..], &mut parts);
            assert_eq!(parts, whole, "cut at {cut}");
        }
        whole
    }

    #[test]
    fn what_is_no_character_does_not_arrive_as_a_control() {
        for (bad, passed) in [
            (&b"a\xe0\x82\x9b21t"[..], "a\u{fffd}21t"),
            (b"\xf0\x80\x82\x9bx", "\u{fffd}x"),
            (b"\xed\xa0\x80x", "\u{fffd}x"),
            (b"\xf4\x90\x80\x80x", "\u{fffd}x"),
            (b"\xe2\x82x\xe2\x82\x1b[1m", "\u{fffd}x\u{fffd}\u{1b}[1m"),
            (b"\xc3\xe2\x82\xac", "\u{fffd}\u{20ac}"),
            (b"\xc0\x9bx\x9b21t\xc2\x9bx", "x21tx"),
        ] {
            assert_eq!(String::from_utf8(filtered(bad)).unwrap(), passed, "{bad:x?}");
        }
    }

    #[test]
    fn text_colours_and_screen_handling_pass() {
        for good in [
            &b"plain text\r\n\ttab"[..],
            "größer – 漢字 🙂".as_bytes(),
            b"\x1b[1;38;5;208mred\x1b[0m",
            b"\x1b[?1049h\x1b[2J\x1b[10;20H\x1b[?25l",
            b"\x1b(B\x1b)0\x1b7\x1b8\x1b=\x1b>",
            b"\x1b[2 q",
            b"\x1b[?2004h\x1b[?1004h\x1b[?1006h\x1b[?2031h\x1b[?2048h",
            b"\x1b[>1u\x1b[=5;1u\x1b[<1u\x1b[>4;2m\x1b[>4m",
            b"\x1b]8;id=1;https://example.org/\x1b\\here\x1b]8;;\x1b\\",
            b"\x1b[J\x1b[0J\x1b[1J\x1b[02J\x1b[K\x1b[3X\x1b[4@\x1b[2;20r\x1b[3g",
        ] {
            assert_eq!(filtered(good), good);
        }
    }

    #[test]
    fn clipboard_title_and_queries_do_not() {
        for bad in [
            &b"\x1b]52;c;Y3VybCBldmls\x07"[..],
            b"\x1b]0;title\x1b\\",
            b"\x1b]7;file:///x\x07",
            b"\x1b]4;1;red\x07",
            b"\x1b]11;red\x07",
            b"\x1b]10;?\x07",
            b"\x1b]9;notice\x07",
            b"\x1b]777;notify;a;b\x07",
            b"\x1b]1337;File=:x\x07",
            b"\x1b]l\x1b\\",
            b"\x1b[c",
            b"\x1b[>c",
            b"\x1b[6n",
            b"\x1b[21t",
            b"\x1b[>q",
            b"\x1b[?2026$p",
            b"\x1b[?u",
            b"\x1bP$qm\x1b\\",
            b"\x1b_Gi=1;x\x1b\\",
            b"\x1b^x\x1b\\",
            b"\x1bZ",
            b"\x05",
            b"\xc2\x9b6n",
            b"\x9b6n",
            b"\xc2\x9d52;c;x\x07",
            // What cannot be put back: a locked keyboard, a VT52, a highlight that waits, margins at the sides, tall letters.
            b"\x1b[2h",
            b"\x1b[?2l",
            b"\x1b[?1001h",
            b"\x1b[?69h",
            b"\x1b#3",
            // Of the Linux console alone: colours for good, blanking, the bell, another console, power; and what was scrolled away.
            b"\x1b[1;4]",
            b"\x1b[8]",
            b"\x1b[9;1]",
            b"\x1b[10;30000]",
            b"\x1b[11;60000]",
            b"\x1b[12;2]",
            b"\x1b[13]",
            b"\x1b[14;1]",
            b"\x1b[15]",
            b"\x1b[16;1]",
            b"\x1b[]",
            b"\x1b[3J",
            b"\x1b[03J",
            b"\x1b[2;3J",
            b"\x1b[22J",
            b"\x1b[?3J",
            b"\x1b[1q",
            b"\x1b[1^",
            b"\x1b[1_",
            b"\x1b[1\\",
            b"\x1b[1~",
        ] {
            let left = filtered(bad);
            assert!(!left.contains(&0x1b) && !left.contains(&0x9b), "{bad:?} left {left:?}");
        }
    }

    #[test]
    fn a_link_that_does_not_pass_ends_the_one_before() {
        let bad = filtered(b"\x1b]8;;javascript:x\x07here\x1b]8;;\x07");
        assert_eq!(bad, b"\x1b]8;;\x1b\\here\x1b]8;;\x1b\\");
    }

    #[test]
    fn questions_pass_where_their_answers_reach_the_program() {
        let questions = b"\x1b[6n\x1b[c\x1b[>c\x1b[>q\x1b[?u\x1b[?2026$p\x1b]11;?\x07\x1b]10;?\x1b\\";
        let (mut filter, mut out) = (Filter::with_answers(), Vec::new());
        filter.pass(questions, &mut out);
        assert_eq!(out, questions);
        assert_eq!(filtered(questions), b"");
        out.clear();
        filter.pass(
            b"\x1b[21t\x1b[18t\x1bP$qm\x1b\\\x1bP+q544e\x1b\\\x1b[?26n\x1b]52;c;?\x07\x1b[5i\x1bZ\x05",
            &mut out,
        );
        assert_eq!(out, b"");
    }

    #[test]
    fn an_endless_sequence_is_dropped_without_growing() {
        let mut filter = Filter::default();
        let mut out = Vec::new();
        filter.pass(b"\x1b[", &mut out);
        filter.pass(&b"1;".repeat(100_000), &mut out);
        filter.pass(b"m", &mut out);
        assert!(out.is_empty());
        assert!(filter.sequence.capacity() < 1024);
        filter.pass(b"\x1b]8;;https://example.org/", &mut out);
        filter.pass(&b"x".repeat(100_000), &mut out);
        filter.pass(b"\x1b\\", &mut out);
        assert!(out.is_empty());
        assert!(filter.sequence.capacity() < 8192);
    }
}
