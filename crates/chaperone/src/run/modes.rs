//! What a program in the cell may switch in the user's terminal: noted while it passes, so that all of it can be
//! switched off before something of ours is drawn, and brought back after it.

use std::collections::BTreeMap;

use super::keyboard::Keyboard;
use super::link;

/// Longest run of colours and attributes that is brought back; of a longer one the program draws its own again.
const MAX_RENDITION: usize = 256;

/// A mode that may be switched.
#[derive(Debug, Clone, Copy)]
struct Switch {
    /// DEC's own, with a question mark.
    private: bool,
    number: u16,
    /// As it is in a fresh terminal.
    fresh: bool,
    /// Whether a user may have it otherwise: it is then put back only where the program switched it.
    preference: bool,
}

const fn dec(number: u16, fresh: bool) -> Switch {
    Switch { private: true, number, fresh, preference: false }
}

const fn preferred(number: u16) -> Switch {
    Switch { private: true, number, fresh: false, preference: true }
}

/// Insert and newline mode.
const ANSI: [Switch; 2] = [
    Switch { private: false, number: 4, fresh: false, preference: false },
    Switch { private: false, number: 20, fresh: false, preference: false },
];

/// Cursor keys, reverse screen, origin, wrap, blinking and visible cursor, reverse wrap, keypad, mouse and focus
/// reports, bracketed paste, held drawing, reports of dark colours and of the size. No other passes: not the one that locks the
/// keyboard, the one that turns the terminal into a VT52, or the one that highlights what the mouse selects and waits for an answer.
const DEC: [Switch; 21] = [
    dec(1, false),
    dec(5, false),
    dec(6, false),
    dec(7, true),
    preferred(12),
    dec(25, true),
    preferred(45),
    dec(66, false),
    dec(9, false),
    dec(1000, false),
    dec(1002, false),
    dec(1003, false),
    dec(1004, false),
    dec(1005, false),
    dec(1006, false),
    dec(1015, false),
    dec(1016, false),
    dec(2004, false),
    dec(2026, false),
    dec(2031, false),
    dec(2048, false),
];

/// Those that make the terminal type without being asked.
const REPORTS: [u16; 7] = [9, 1000, 1002, 1003, 1004, 2031, 2048];

/// The other screen, by its three names.
const ALTERNATE: [u16; 3] = [47, 1047, 1049];
/// Save and restore the cursor: passes, and leaves nothing switched.
const SAVE_CURSOR: u16 = 1048;
const ORIGIN: (bool, u16) = (true, 6);

/// What is switched, as far as the program did it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Modes {
    switched: BTreeMap<(bool, u16), bool>,
    alternate: Option<u16>,
    /// The sequences for colours and attributes since the last reset.
    rendition: Vec<u8>,
    /// The designations of G0 to G3 that are not ASCII.
    charsets: BTreeMap<u8, u8>,
    /// G1 is in use.
    shifted: bool,
    margins: Vec<u8>,
    keypad: bool,
    cursor_style: Vec<u8>,
    keyboard: Keyboard,
    /// The sequence that began a link, where one has begun.
    link: Vec<u8>,
}

impl Modes {
    /// Pass modes on (`last` is `h` or `l`), of which only those that can be put back.
    pub fn switch(&mut self, parameters: &[u8], last: u8, out: &mut Vec<u8>) {
        let (private, list) = match parameters.strip_prefix(b"?") {
            Some(rest) => (true, rest),
            None => (false, parameters),
        };
        let number = |n: &[u8]| std::str::from_utf8(n).ok()?.parse::<u16>().ok();
        let numbers = list.split(|b| *b == b';').filter_map(number);
        if private
            && last == b'l'
            && self.alternate.is_some()
            && numbers.clone().any(|n| ALTERNATE.contains(&n))
        {
            // A screen that is left keeps what was wanted of keys, which could not be undone from the other one.
            self.keyboard.leave(true, out);
        }
        let passed: Vec<String> = numbers
            .filter(|n| self.note(private, *n, last == b'h'))
            .map(|number: u16| number.to_string())
            .collect();
        if !passed.is_empty() {
            let mark = if private { "?" } else { "" };
            out.extend_from_slice(format!("\x1b[{mark}{}{}", passed.join(";"), char::from(last)).as_bytes());
        }
    }

    fn note(&mut self, private: bool, number: u16, on: bool) -> bool {
        if private && ALTERNATE.contains(&number) {
            self.alternate = on.then_some(number);
            return true;
        }
        if private && number == SAVE_CURSOR {
            return true;
        }
        let Some(switch) = switches().find(|s| s.private == private && s.number == number) else {
            return false;
        };
        if on == switch.fresh {
            self.switched.remove(&(private, number));
        } else {
            self.switched.insert((private, number), on);
        }
        true
    }

    /// Another control sequence passes, whole.
    pub fn control(&mut self, sequence: &[u8], last: u8) {
        let parameters = sequence.get(2..).unwrap_or_default();
        let whole = || [sequence, &[last]].concat();
        match last {
            b'm' => {
                let first = parameters.split(|b| *b == b';').next().unwrap_or_default();
                if first.iter().all(|b| *b == b'0') || self.rendition.len() > MAX_RENDITION {
                    self.rendition.clear();
                }
                self.rendition.extend(whole());
            }
            b'r' if parameters.is_empty() => self.margins.clear(),
            b'r' => self.margins = whole(),
            b'q' => self.cursor_style = whole(),
            b'p' => {
                let (alternate, cursor_style) = (self.alternate, std::mem::take(&mut self.cursor_style));
                let (keyboard, link) = (std::mem::take(&mut self.keyboard), std::mem::take(&mut self.link));
                *self = Self { alternate, cursor_style, keyboard, link, ..Self::default() };
            }
            _ => {}
        }
    }

    /// How keys are wanted.
    pub fn keyboard(&mut self, parameters: &[u8], last: u8, out: &mut Vec<u8>) {
        self.keyboard.control(self.alternate.is_some(), parameters, last, out);
    }

    /// A link begins, or the one that has begun ends.
    pub fn link(&mut self, sequence: Vec<u8>, out: &mut Vec<u8>) {
        out.extend_from_slice(&sequence);
        self.link = if sequence == link::END { Vec::new() } else { sequence };
    }

    /// Whether the terminal types what nobody typed.
    pub fn reports(&self) -> bool {
        REPORTS.iter().any(|number| self.switched.contains_key(&(true, *number)))
    }

    /// An escape sequence of one character is about to pass.
    pub fn escape(&mut self, last: u8, out: &mut Vec<u8>) {
        match last {
            b'=' => self.keypad = true,
            b'>' => self.keypad = false,
            b'c' => {
                // Not every terminal means these.
                self.end_link(out);
                out.extend(self.keyboard.off(self.alternate.is_some()));
                *self = Self::default();
            }
            _ => {}
        }
    }

    /// A character set is designated: `ESC ( 0` and the like.
    pub fn charset(&mut self, which: u8, set: u8) {
        if set == b'B' {
            self.charsets.remove(&which);
        } else if matches!(which, b'(' | b')' | b'*' | b'+') {
            self.charsets.insert(which, set);
        }
    }

    /// Shift in or out passes.
    pub fn shift(&mut self, out: bool) {
        self.shifted = out;
    }

    /// Everything as in a fresh terminal, and the cursor where it is.
    fn plain(&self) -> Vec<u8> {
        // First what holds the drawing back, then the reset that says it all where it is known.
        let mut bytes = b"\x1b[?2026l\x1b[!p".to_vec();
        self.end_link(&mut bytes);
        // The margins are put back at the price of the cursor, which is saved for it.
        if self.switched.contains_key(&ORIGIN) {
            bytes.extend_from_slice(b"\x1b[?6l");
        }
        bytes.extend_from_slice(b"\x1b7\x1b[r\x1b8\x1b[0m\x1b(B\x1b)B\x1b*B\x1b+B\x0f\x1b>");
        for switch in switches().filter(|s| (s.private, s.number) != ORIGIN) {
            if !switch.preference || self.switched.contains_key(&(switch.private, switch.number)) {
                bytes.extend(switch.to(switch.fresh));
            }
        }
        if !self.cursor_style.is_empty() {
            bytes.extend_from_slice(b"\x1b[0 q");
        }
        bytes
    }

    /// An empty screen in a terminal as if it were fresh, to ask on.
    #[must_use]
    pub fn before_ask(&self) -> Vec<u8> {
        let mut bytes = self.plain();
        if self.alternate.is_none() {
            bytes.extend_from_slice(b"\x1b[?1049h");
        }
        bytes.extend(self.keyboard.before());
        bytes.extend_from_slice(b"\x1b[2J\x1b[H");
        bytes
    }

    /// The program's screen and modes again. On the other screen it has to draw anew what stood there.
    #[must_use]
    pub fn after_ask(&self) -> Vec<u8> {
        let mut bytes = b"\x1b[2J\x1b[H".to_vec();
        bytes.extend_from_slice(self.keyboard.after());
        // These move the cursor, which leaving the other screen puts back.
        bytes.extend_from_slice(&self.margins);
        if self.switched.contains_key(&ORIGIN) {
            bytes.extend_from_slice(b"\x1b[?6h");
        }
        if self.alternate.is_none() {
            bytes.extend_from_slice(b"\x1b[?1049l");
        }
        bytes.extend(self.keyboard.restate(self.alternate.is_some()));
        self.switched_again(&mut bytes);
        bytes
    }

    /// The program's screen and modes after [`Modes::at_end`], when it goes on. It has to draw anew what stood there.
    #[must_use]
    pub fn after_stop(&self) -> Vec<u8> {
        let mut bytes = self.keyboard.again(false);
        if let Some(number) = self.alternate {
            bytes.extend_from_slice(format!("\x1b[?{number}h\x1b[2J\x1b[H").as_bytes());
            bytes.extend(self.keyboard.again(true));
        }
        bytes.extend_from_slice(&self.margins);
        if self.switched.contains_key(&ORIGIN) {
            bytes.extend_from_slice(b"\x1b[?6h");
        }
        self.switched_again(&mut bytes);
        bytes
    }

    /// What moves no cursor.
    fn switched_again(&self, bytes: &mut Vec<u8>) {
        for (which, set) in &self.charsets {
            bytes.extend_from_slice(&[0x1b, *which, *set]);
        }
        bytes.push(if self.shifted { 0x0e } else { 0x0f });
        bytes.extend_from_slice(if self.keypad { b"\x1b=" } else { b"\x1b>" });
        bytes.extend_from_slice(&self.cursor_style);
        for switch in switches().filter(|s| (s.private, s.number) != ORIGIN) {
            if let Some(on) = self.switched.get(&(switch.private, switch.number)) {
                bytes.extend(switch.to(*on));
            }
        }
        bytes.extend_from_slice(&self.rendition);
        bytes.extend_from_slice(&self.link);
    }

    fn end_link(&self, bytes: &mut Vec<u8>) {
        if !self.link.is_empty() {
            bytes.extend_from_slice(link::END);
        }
    }

    /// A line of ours between what the program draws: in plain letters, whatever it had chosen.
    #[must_use]
    pub fn line(&self, text: &str) -> Vec<u8> {
        let mut bytes = b"\x1b[?2026l\x1b[0m\x1b(B\x0f".to_vec();
        self.end_link(&mut bytes);
        bytes.extend_from_slice(format!("\r\n{text}\r\n").as_bytes());
        if let Some(set) = self.charsets.get(&b'(') {
            bytes.extend_from_slice(&[0x1b, b'(', *set]);
        }
        if self.shifted {
            bytes.push(0x0e);
        }
        bytes.extend_from_slice(&self.rendition);
        bytes.extend_from_slice(&self.link);
        bytes
    }

    /// The user's terminal as it was before the program.
    #[must_use]
    pub fn at_end(&self) -> Vec<u8> {
        let mut bytes = self.keyboard.off(self.alternate.is_some());
        if let Some(number) = self.alternate {
            bytes.extend_from_slice(format!("\x1b[?{number}l").as_bytes());
            bytes.extend(self.keyboard.off(false));
        }
        bytes.extend(self.plain());
        bytes
    }
}

impl Switch {
    fn to(self, on: bool) -> Vec<u8> {
        let (mark, last) = (if self.private { "?" } else { "" }, if on { 'h' } else { 'l' });
        format!("\x1b[{mark}{}{last}", self.number).into_bytes()
    }
}

fn switches() -> impl Iterator<Item = Switch> {
    ANSI.into_iter().chain(DEC)
}

#[cfg(test)]
mod tests {
    use super::super::filter::Filter;
    use super::*;

    /// As much of a terminal as can disguise a question, written without a look at the code above.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Terminal {
        knows_soft_reset: bool,
        modes: BTreeMap<String, bool>,
        rendition: Vec<String>,
        charsets: BTreeMap<u8, u8>,
        shifted: bool,
        margins: String,
        keypad: bool,
        alternate: bool,
        /// Where the cursor is, as a count of whatever moved it home.
        homed: usize,
        saved: Option<(usize, Vec<String>)>,
        /// What is wanted of keys, on the two screens, by a terminal that does not forget it with a reset.
        keys: [Vec<String>; 2],
        other_keys: String,
        link: String,
    }

    impl Terminal {
        fn new(knows_soft_reset: bool) -> Self {
            Self {
                knows_soft_reset,
                modes: BTreeMap::new(),
                rendition: Vec::new(),
                charsets: BTreeMap::new(),
                shifted: false,
                margins: String::new(),
                keypad: false,
                alternate: false,
                homed: 0,
                saved: None,
                keys: Default::default(),
                other_keys: String::new(),
                link: String::new(),
            }
        }

        fn show(&mut self, bytes: &[u8]) {
            let mut at = 0;
            while let Some(byte) = bytes.get(at) {
                at += 1;
                match byte {
                    0x0e => self.shifted = true,
                    0x0f => self.shifted = false,
                    0x1b => {
                        let next = bytes[at];
                        at += 1;
                        match next {
                            b'[' => {
                                let end =
                                    at + bytes[at..].iter().position(|b| (0x40..=0x7e).contains(b)).unwrap();
                                let parameters = String::from_utf8(bytes[at..end].to_vec()).unwrap();
                                at = end + 1;
                                self.control(&parameters, bytes[end]);
                            }
                            b'(' | b')' | b'*' | b'+' => {
                                if bytes[at] == b'B' {
                                    self.charsets.remove(&next);
                                } else {
                                    self.charsets.insert(next, bytes[at]);
                                }
                                at += 1;
                            }
                            b']' => {
                                let length = bytes[at..].windows(2).position(|w| w == b"\x1b\\").unwrap();
                                let text = String::from_utf8(bytes[at..at + length].to_vec()).unwrap();
                                self.link =
                                    text.strip_prefix("8;").unwrap().split_once(';').unwrap().1.to_owned();
                                at += length + 2;
                            }
                            b'7' => self.saved = Some((self.homed, self.rendition.clone())),
                            b'8' => self.restore(),
                            b'=' => self.keypad = true,
                            b'>' => self.keypad = false,
                            b'c' => self.reset(false),
                            other => panic!("ESC {other}"),
                        }
                    }
                    _ => {}
                }
            }
        }

        fn reset(&mut self, soft: bool) {
            let kept = self.clone();
            *self = Self {
                keys: kept.keys,
                other_keys: kept.other_keys,
                link: kept.link,
                ..Self::new(kept.knows_soft_reset)
            };
            if soft {
                (self.alternate, self.homed) = (kept.alternate, kept.homed);
            }
        }

        fn restore(&mut self) {
            if let Some((homed, rendition)) = self.saved.clone() {
                (self.homed, self.rendition) = (homed, rendition);
            }
        }

        fn control(&mut self, parameters: &str, last: u8) {
            let keys = &mut self.keys[usize::from(self.alternate)];
            match last {
                b'm' if parameters.starts_with('>') => {
                    self.other_keys = parameters.strip_prefix(">4;").unwrap_or_default().to_owned();
                }
                b'u' if parameters.starts_with('>') => keys.push(parameters[1..].to_owned()),
                b'u' if parameters.starts_with('=') => {
                    *keys.last_mut().unwrap() = parameters[1..].split(';').next().unwrap().to_owned();
                }
                b'u' if parameters.starts_with('<') => {
                    let count = parameters[1..].parse::<usize>().unwrap();
                    assert!(keys.len() >= count, "what the user had is popped");
                    keys.truncate(keys.len() - count);
                }
                b'm' if parameters.is_empty() || parameters.starts_with('0') => {
                    self.rendition =
                        if parameters.contains(';') { vec![parameters.to_owned()] } else { Vec::new() };
                }
                b'm' => self.rendition.push(parameters.to_owned()),
                b'r' => {
                    parameters.clone_into(&mut self.margins);
                    self.homed += 1;
                }
                b'p' if parameters == "!" && self.knows_soft_reset => {
                    self.reset(true);
                }
                b'h' | b'l' => {
                    let (mark, list) = parameters.strip_prefix('?').map_or(("", parameters), |l| ("?", l));
                    for number in list.split(';') {
                        match (mark, number) {
                            ("?", "1049") if last == b'h' && !self.alternate => {
                                self.saved = Some((self.homed, self.rendition.clone()));
                                self.alternate = true;
                            }
                            ("?", "1049") if last == b'l' && self.alternate => {
                                self.alternate = false;
                                self.restore();
                            }
                            ("?", "47" | "1047" | "1049") => self.alternate = last == b'h',
                            _ => {
                                let on = last == b'h';
                                if ["?7", "?25"].contains(&&*format!("{mark}{number}")) == on {
                                    self.modes.remove(&format!("{mark}{number}"));
                                } else {
                                    self.modes.insert(format!("{mark}{number}"), on);
                                }
                            }
                        }
                    }
                }
                _ => {}
            }
        }

        /// Letters stand as they are, where they are put, and are seen.
        fn is_plain(&self) -> bool {
            self.modes.is_empty()
                && self.rendition.is_empty()
                && self.charsets.is_empty()
                && self.margins.is_empty()
                && !self.shifted
                && !self.keypad
                && self.has_plain_keys()
                && self.link.is_empty()
        }

        fn has_plain_keys(&self) -> bool {
            let keys = &self.keys[usize::from(self.alternate)];
            keys.last().is_none_or(|flags| flags == "0") && self.other_keys.is_empty()
        }
    }

    /// What an agent prints to disguise what comes next.
    const DISGUISES: &[&[u8]] = &[
        b"\x1b[8m\x1b(0\x1b[?7l",
        b"\x1b)0\x0e",
        b"\x1b[1;31;8m\x1b[3m",
        b"\x1b[30;40m",
        b"\x1b[5;6r\x1b[?6h",
        b"\x1b[4h\x1b[20h",
        b"\x1b[?5h\x1b[?25l",
        b"\x1b[?2026h",
        b"\x1b[?1003h\x1b[?1006h\x1b[?1004h\x1b[?2004h",
        b"\x1b[?1;7;25l\x1b=",
        b"\x1b[?1049h\x1b[8m\x1b[2;3r",
        b"\x1b[?47h\x1b[?1000h",
        b"\x1b[?1049h\x1b[!p\x1b[8m",
        b"\x1bc\x1b[8m",
        b"\x1b[?69h\x1b[5;6s\x1b[2h\x1b[?2l\x1b#3\x1b[7m",
        b"\x1b[0;8m\x1b[?45h\x1b[?66h",
        b"\x1b[>1u\x1b[>31u\x1b[>4;2m\x1b]8;;https://example.org/\x07",
        b"\x1b[=8u\x1b[?1049h\x1b[>9u\x1b[=4;2u",
        b"\x1b[?1049h\x1b[>9u\x1b[?1049l\x1b[7m",
        b"\x1b[>9u\x1b]8;id=1;file:///x\x07\x1bc\x1b[>5u\x1b[!p\x1b[?2031;2048h",
    ];

    #[test]
    fn a_question_and_the_end_stand_on_a_plain_screen_and_the_agent_finds_its_own_again() {
        for disguise in DISGUISES.iter().copied().chain([&*DISGUISES.concat()]) {
            for knows_soft_reset in [true, false] {
                let (mut filter, mut passed) = (Filter::default(), Vec::new());
                filter.pass(disguise, &mut passed);
                let mut terminal = Terminal::new(knows_soft_reset);
                terminal.show(&passed);
                let before = terminal.clone();
                assert!(!before.is_plain(), "{disguise:?} disguises nothing");

                terminal.show(&filter.modes().before_ask());
                assert!(terminal.is_plain() && terminal.alternate, "{disguise:?}: {terminal:?}");
                terminal.show(&filter.modes().after_ask());
                let seen = |t: &Terminal| {
                    (t.modes.clone(), t.charsets.clone(), t.shifted, t.margins.clone(), t.keypad, t.alternate)
                };
                let wanted = |t: &Terminal| (t.keys.clone(), t.other_keys.clone(), t.link.clone());
                assert_eq!(seen(&terminal), seen(&before), "{disguise:?}");
                assert_eq!(wanted(&terminal), wanted(&before), "{disguise:?}");
                assert_eq!(terminal.rendition, before.rendition, "{disguise:?}");
                if !before.alternate && !before.modes.contains_key("?6") {
                    assert_eq!(terminal.homed, before.homed, "the cursor stands elsewhere: {disguise:?}");
                }

                terminal.show(&filter.modes().at_end());
                assert!(terminal.is_plain() && !terminal.alternate, "{disguise:?}: {terminal:?}");
                assert_eq!(terminal.keys, <[Vec<String>; 2]>::default(), "{disguise:?}");
                terminal.show(&filter.modes().after_stop());
                assert_eq!(seen(&terminal), seen(&before), "{disguise:?}");
                assert_eq!(wanted(&terminal), wanted(&before), "{disguise:?}");
            }
        }
    }

    #[test]
    fn a_line_of_ours_is_never_concealed() {
        for disguise in DISGUISES {
            let (mut filter, mut passed) = (Filter::default(), Vec::new());
            filter.pass(disguise, &mut passed);
            let line = filter.modes().line("ALERT");
            let mut terminal = Terminal::new(true);
            terminal.show(&passed);
            let before = terminal.clone();
            terminal.show(&line[..line.windows(5).position(|w| w == b"ALERT").unwrap()]);
            assert!(terminal.rendition.is_empty() && !terminal.shifted, "{disguise:?}");
            assert!(terminal.link.is_empty(), "{disguise:?}");
            assert!(!terminal.charsets.contains_key(&b'(') && !terminal.modes.contains_key("?2026"));
            terminal.show(&line);
            assert_eq!((terminal.rendition, terminal.charsets), (before.rendition, before.charsets));
            assert_eq!(terminal.link, before.link);
        }
    }

    #[test]
    fn every_mode_that_passes_is_put_back() {
        for (private, number) in (0..3000u16).flat_map(|n| [(true, n), (false, n)]) {
            for last in [b'h', b'l'] {
                let (mut filter, mut passed) = (Filter::default(), Vec::new());
                let mark = if private { "?" } else { "" };
                filter.pass(format!("\x1b[{mark}{number}{}", char::from(last)).as_bytes(), &mut passed);
                let mut terminal = Terminal::new(false);
                terminal.show(&passed);
                terminal.show(&filter.modes().before_ask());
                terminal.modes.remove("?1048");
                assert!(terminal.is_plain(), "{mark}{number}: {terminal:?}");
            }
        }
    }

    #[test]
    fn what_is_kept_of_an_endless_rendition_is_bounded() {
        let (mut filter, mut passed) = (Filter::default(), Vec::new());
        filter.pass(&b"\x1b[1m".repeat(100_000), &mut passed);
        assert!(filter.modes().after_ask().len() < 1024);
    }
}
