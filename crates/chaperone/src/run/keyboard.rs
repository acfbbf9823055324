//! How a program wants its keys: the protocol of kitty, which stacks what is wanted, for each of the two screens, and the
//! modification of other keys of xterm. Both can be undone, and are, wherever someone else is to read keys.

/// Deepest stack. Terminals keep eight at least; one more is ours during a question.
const DEEPEST: usize = 6;
/// All flags that the protocol has.
const FLAGS: u8 = 0x1f;

/// What is switched, as far as the program did it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Keyboard {
    main: Vec<u8>,
    alternate: Vec<u8>,
    other_keys: Option<u8>,
}

impl Keyboard {
    /// A sequence of the protocol on one of the screens (`alternate`): passed on where it can be undone.
    pub fn control(&mut self, alternate: bool, parameters: &[u8], last: u8, out: &mut Vec<u8>) {
        let Ok(parameters) = std::str::from_utf8(parameters) else { return };
        let stack = if alternate { &mut self.alternate } else { &mut self.main };
        match (parameters.split_at_checked(1), last) {
            (Some((">", flags)), b'u') => {
                if let Some(flags) = number(flags, 0).filter(|flags| *flags <= FLAGS)
                    && stack.len() < DEEPEST
                {
                    stack.push(flags);
                    out.extend_from_slice(format!("\x1b[>{flags}u").as_bytes());
                }
            }
            (Some(("<", count)), b'u') => {
                if let Some(count) = number(count, 1) {
                    pop(stack, usize::from(count), out);
                }
            }
            (Some(("=", rest)), b'u') => {
                let (flags, how) = rest.split_once(';').unwrap_or((rest, ""));
                if let (Some(flags), Some(how)) = (number(flags, 0).filter(|f| *f <= FLAGS), number(how, 1)) {
                    set(stack, flags, how, out);
                }
            }
            (Some((">", rest)), b'm') => {
                let (resource, value) = rest.split_once(';').unwrap_or((rest, ""));
                let value = number(value, 0).filter(|value| *value <= 3);
                if let (Some(4), Some(value)) = (number(resource, 0), value) {
                    self.other_keys = (value > 0).then_some(value);
                    out.extend_from_slice(&self.other_keys());
                }
            }
            _ => {}
        }
    }

    /// Undo what holds on one of the screens, for good.
    pub fn leave(&mut self, alternate: bool, out: &mut Vec<u8>) {
        pop(if alternate { &mut self.alternate } else { &mut self.main }, usize::MAX, out);
    }

    /// Undo everything, where the screen is the one that is said, and the other has nothing.
    pub fn off(&self, alternate: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        pop(&mut self.stack(alternate).to_vec(), usize::MAX, &mut bytes);
        if self.other_keys.is_some() {
            bytes.extend_from_slice(b"\x1b[>4m");
        }
        bytes
    }

    /// What [`Keyboard::off`] undid.
    pub fn again(&self, alternate: bool) -> Vec<u8> {
        let pushes = self.stack(alternate).iter().map(|flags| format!("\x1b[>{flags}u"));
        [pushes.collect::<String>().into_bytes(), self.other_keys_again()].concat()
    }

    /// Plain keys on whatever screen stands now, until [`Keyboard::after`].
    pub fn before(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if self.is_on() {
            bytes.extend_from_slice(b"\x1b[>0u");
        }
        if self.other_keys.is_some() {
            bytes.extend_from_slice(b"\x1b[>4m");
        }
        bytes
    }

    /// The end of [`Keyboard::before`], before the screen changes.
    pub fn after(&self) -> &'static [u8] {
        if self.is_on() { b"\x1b[<1u" } else { b"" }
    }

    /// What holds on a screen, once more: a reset of ours may have ended it.
    pub fn restate(&self, alternate: bool) -> Vec<u8> {
        let top = self.stack(alternate).last();
        let mut bytes = top.map_or_else(Vec::new, |flags| format!("\x1b[={flags};1u").into_bytes());
        bytes.extend(self.other_keys_again());
        bytes
    }

    fn is_on(&self) -> bool {
        !self.main.is_empty() || !self.alternate.is_empty()
    }

    fn stack(&self, alternate: bool) -> &[u8] {
        if alternate { &self.alternate } else { &self.main }
    }

    fn other_keys(&self) -> Vec<u8> {
        self.other_keys.map_or_else(|| b"\x1b[>4m".to_vec(), |value| format!("\x1b[>4;{value}m").into_bytes())
    }

    fn other_keys_again(&self) -> Vec<u8> {
        self.other_keys.map_or_else(Vec::new, |_| self.other_keys())
    }
}

/// Never more than what the program had put there: what is below is the user's.
fn pop(stack: &mut Vec<u8>, count: usize, out: &mut Vec<u8>) {
    let count = count.min(stack.len());
    stack.truncate(stack.len() - count);
    if count > 0 {
        out.extend_from_slice(format!("\x1b[<{count}u").as_bytes());
    }
}

/// Changes what is on top; what is below the program's own is not changed, but put under one of its own.
fn set(stack: &mut Vec<u8>, flags: u8, how: u8, out: &mut Vec<u8>) {
    let had = stack.last().copied();
    let now = match (how, had.unwrap_or(0)) {
        (1, _) => flags,
        (2, had) => had | flags,
        (3, had) => had & !flags,
        _ => return,
    };
    if let Some(top) = stack.last_mut() {
        *top = now;
        out.extend_from_slice(format!("\x1b[={now};1u").as_bytes());
    } else {
        stack.push(now);
        out.extend_from_slice(format!("\x1b[>{now}u").as_bytes());
    }
}

fn number(text: &str, missing: u8) -> Option<u8> {
    match text {
        "" => Some(missing),
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(keyboard: &mut Keyboard, sequences: &[&str]) -> String {
        let mut out = Vec::new();
        for sequence in sequences {
            let (parameters, last) = sequence.split_at(sequence.len() - 1);
            keyboard.control(false, parameters.as_bytes(), last.as_bytes()[0], &mut out);
        }
        String::from_utf8(out).unwrap().replace('\x1b', "")
    }

    #[test]
    fn what_the_user_had_before_is_never_popped_or_changed() {
        let mut keyboard = Keyboard::default();
        assert_eq!(passed(&mut keyboard, &["<u", "<9u"]), "");
        assert_eq!(passed(&mut keyboard, &["=5;2u"]), "[>5u");
        assert_eq!(passed(&mut keyboard, &["=1;3u", "=8u", ">1u", "<200u", "<u"]), "[=4;1u[=8;1u[>1u[<2u");
        assert_eq!(keyboard, Keyboard::default());
    }

    #[test]
    fn the_stack_is_bounded_and_undone_whole() {
        let mut keyboard = Keyboard::default();
        passed(&mut keyboard, &[">1u"; 100]);
        assert_eq!(keyboard.off(false), b"\x1b[<6u");
        assert_eq!(passed(&mut keyboard, &[">32u", ">1;2u", ">-1u", "=1;4u", "=x;1u", ">+1u", "1u"]), "");
    }

    #[test]
    fn of_the_resources_only_the_other_keys_are_set() {
        let mut keyboard = Keyboard::default();
        assert_eq!(passed(&mut keyboard, &[">4;2m", ">1;2m", ">4;9m", ">m"]), "[>4;2m");
        assert_eq!(keyboard.off(false), b"\x1b[>4m");
        assert_eq!(keyboard.again(false), b"\x1b[>4;2m");
        assert_eq!(passed(&mut keyboard, &[">4m"]), "[>4m");
        assert_eq!(keyboard, Keyboard::default());
    }
}
