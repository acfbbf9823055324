//! Text that an agent supplied, made safe to show.

/// Make text that an agent supplied safe to show: control, bidi and zero-width characters are replaced, and
/// what is longer than `limit` characters is cut in the middle so that both ends stay visible.
#[must_use]
pub fn for_display(text: &str, limit: usize) -> String {
    if text.len() <= limit && text.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        return text.to_owned();
    }
    let clean: Vec<char> = text.chars().map(|c| if is_deceptive(c) { '\u{fffd}' } else { c }).collect();
    if clean.len() <= limit {
        return clean.into_iter().collect();
    }
    let half = limit.saturating_sub(1) / 2;
    let (head, tail) = (clean.iter().take(half), clean.iter().skip(clean.len() - half));
    head.chain(std::iter::once(&'…')).chain(tail).collect()
}

/// Control characters (C0 and C1), line separators, bidirectional controls, and what has no width or is a blank that is
/// not the space.
#[must_use]
pub fn is_deceptive(c: char) -> bool {
    c.is_control()
        || c != ' ' && c.is_whitespace()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deceptive_characters_never_reach_the_user() {
        let shown = for_display("pay\u{202e}exe.\u{1b}]52;c;x\u{7}\u{200b}", 80);
        assert!(shown.chars().all(|c| !is_deceptive(c)), "{shown:?}");
        assert_eq!(for_display(&"x".repeat(500), 41).chars().count(), 41);
    }
}
