//! RTF as a sequence of what stands in it (RTF 1.9.1, "RTF syntax"); whoever reads it makes sense of it.

/// One piece of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event<'b> {
    Open,
    Close,
    /// A control word with its number, which is 0 where none is written.
    Word(&'b [u8], i64),
    /// A control symbol.
    Symbol(u8),
    /// A character of the text: as it stands, or written in hex.
    Byte(u8),
    /// Bytes that stand as they are.
    Binary(&'b [u8]),
}

/// Gives every piece of `bytes` to `each`, in order.
pub(crate) fn events<'b>(bytes: &'b [u8], each: &mut dyn FnMut(Event<'b>)) {
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'{' => each(Event::Open),
            b'}' => each(Event::Close),
            b'\\' => rest = control(rest, each),
            b'\r' | b'\n' => {}
            byte => each(Event::Byte(*byte)),
        }
    }
}

/// A control word or symbol; what comes after it.
fn control<'b>(rest: &'b [u8], each: &mut dyn FnMut(Event<'b>)) -> &'b [u8] {
    let letters = rest.iter().take_while(|b| b.is_ascii_alphabetic()).count();
    if letters == 0 {
        return symbol(rest, each);
    }
    let (word, after) = rest.split_at(letters);
    let digits =
        after.iter().enumerate().take_while(|(i, b)| b.is_ascii_digit() || *i == 0 && **b == b'-').count();
    let (number, after) = after.split_at(digits);
    let number = std::str::from_utf8(number).ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    let after = after.strip_prefix(b" ").unwrap_or(after);
    if word.eq_ignore_ascii_case(b"bin") {
        let length = usize::try_from(number).unwrap_or(0).min(after.len());
        let (binary, after) = after.split_at(length);
        each(Event::Binary(binary));
        return after;
    }
    each(Event::Word(word, number));
    after
}

fn symbol<'b>(rest: &'b [u8], each: &mut dyn FnMut(Event<'b>)) -> &'b [u8] {
    let Some((first, after)) = rest.split_first() else { return rest };
    match first {
        b'\'' => {
            let code = after
                .get(..2)
                .and_then(|pair| std::str::from_utf8(pair).ok())
                .and_then(|pair| u8::from_str_radix(pair, 16).ok());
            each(code.map_or(Event::Symbol(b'\''), Event::Byte));
            after.get(2..).unwrap_or_default()
        }
        b'\\' | b'{' | b'}' => {
            each(Event::Byte(*first));
            after
        }
        first => {
            each(Event::Symbol(*first));
            after
        }
    }
}
