//! Joiners of width zero where they mean something: between letters that are written joined, behind a sign that takes a vowel
//! away, in pictures made of several. Elsewhere they only make one name look like another.
//!
//! Sources: RFC 5892 appendix A (CONTEXTJ, which UTS #46 keeps), Unicode 17 chapters 9 and 12, UTS #51.

use std::borrow::Cow;

const NON_JOINER: char = '\u{200c}';
const JOINER: char = '\u{200d}';

/// Flags of parts of a country, the only ones that are in use: England, Scotland, Wales. Their letters are not seen.
const FLAGS: [&str; 3] = [
    "\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
    "\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}",
    "\u{e0067}\u{e0062}\u{e0077}\u{e006c}\u{e0073}\u{e007f}",
];
const BLACK_FLAG: char = '\u{1f3f4}';

/// A name without the joiners that mean something where they stand.
#[must_use]
pub fn without_meant_joiners(name: &str) -> Cow<'_, str> {
    let may_hold = |c: char| matches!(c, NON_JOINER | JOINER | BLACK_FLAG);
    if !name.contains(may_hold) {
        return Cow::Borrowed(name);
    }
    let mut kept = String::with_capacity(name.len());
    let mut at = 0;
    while let Some((before, rest)) = name.split_at_checked(at) {
        let Some(c) = rest.chars().next() else { break };
        let behind = rest.get(c.len_utf8()..).unwrap_or_default();
        at += c.len_utf8();
        match c {
            NON_JOINER if is_behind_virama(before) || divides_joined_letters(before, behind) => continue,
            JOINER
                if is_behind_virama(before) || joins_pictures(before, behind) || is_reph(before, behind) =>
            {
                continue;
            }
            BLACK_FLAG => {
                kept.push(c);
                at += FLAGS.iter().find(|flag| behind.starts_with(**flag)).map_or(0, |flag| flag.len());
            }
            _ => kept.push(c),
        }
    }
    Cow::Owned(kept)
}

/// Marks that take a vowel away (canonical combining class 9), behind a letter.
fn is_behind_virama(before: &str) -> bool {
    let mut back = before.chars().rev();
    back.next().is_some_and(is_virama) && back.next().is_some_and(|c| !c.is_ascii())
}

fn is_virama(c: char) -> bool {
    matches!(
        u32::from(c),
        0x94d
            | 0x9cd
            | 0xa4d
            | 0xacd
            | 0xb4d
            | 0xbcd
            | 0xc4d
            | 0xccd
            | 0xd3b
            | 0xd3c
            | 0xd4d
            | 0xdca
            | 0xe3a
            | 0xeba
            | 0xf84
            | 0x1039
            | 0x103a
            | 0x1714
            | 0x1715
            | 0x1734
            | 0x17d2
            | 0x1a60
            | 0x1b44
            | 0x1baa
            | 0x1bab
            | 0x1bf2
            | 0x1bf3
            | 0x2d7f
            | 0xa806
            | 0xa82c
            | 0xa8c4
            | 0xa953
            | 0xa9c0
            | 0xaaf6
            | 0xabed
            | 0x11046
            | 0x1107f
            | 0x110b9
            | 0x11133
            | 0x11134
            | 0x111c0
            | 0x11235
            | 0x112ea
            | 0x1134d
            | 0x11442
            | 0x114c2
            | 0x115bf
            | 0x1163f
            | 0x116b6
            | 0x1172b
            | 0x11839
    )
}

/// Bengali and Kannada: a letter that stays whole before the one below it (`র‍্যাব`).
fn is_reph(before: &str, behind: &str) -> bool {
    let (letter, sign) = (before.chars().next_back(), behind.chars().next());
    matches!((letter, sign), (Some('\u{9b0}'), Some('\u{9cd}')) | (Some('\u{cb0}'), Some('\u{ccd}')))
}

/// Between two Arabic letters that would be written joined otherwise.
fn divides_joined_letters(before: &str, behind: &str) -> bool {
    let mut letters = before.chars().rev().filter(|c| !is_arabic_mark(*c));
    let mut next = behind.chars().filter(|c| !is_arabic_mark(*c));
    letters.next().is_some_and(joins_the_next)
        && next.next().is_some_and(|c| joins_the_next(c) || joins_the_last(c))
}

fn is_arabic_mark(c: char) -> bool {
    matches!(u32::from(c), 0x610..=0x61a | 0x64b..=0x65f | 0x670 | 0x6d6..=0x6dc | 0x6df..=0x6e4 | 0x6e7 | 0x6e8 | 0x6ea..=0x6ed)
}

/// Arabic letters that join on both sides (`Joining_Type=D`).
fn joins_the_next(c: char) -> bool {
    let is_letter = matches!(u32::from(c), 0x620..=0x63f | 0x641..=0x64a | 0x66e..=0x66f | 0x671..=0x6d3 | 0x6fa..=0x6fc | 0x6ff | 0x750..=0x77f);
    is_letter && !joins_the_last(c) && !matches!(u32::from(c), 0x621 | 0x674)
}

/// Arabic letters that join the one before them alone (`Joining_Type=R`).
fn joins_the_last(c: char) -> bool {
    matches!(
        u32::from(c),
        0x622..=0x625 | 0x627 | 0x629 | 0x62f..=0x632 | 0x648 | 0x671..=0x673 | 0x675..=0x677 | 0x688..=0x699
            | 0x6c0 | 0x6c3..=0x6cb | 0x6cd | 0x6cf | 0x6d2 | 0x6d3 | 0x6d5 | 0x6ee | 0x6ef | 0x759..=0x75b
            | 0x76b | 0x76c | 0x771 | 0x773 | 0x774 | 0x778 | 0x779
    )
}

/// Between two pictures, which are shown as one.
fn joins_pictures(before: &str, behind: &str) -> bool {
    let is_tone = |c: char| matches!(u32::from(c), 0xfe0f | 0x1f3fb..=0x1f3ff);
    let picture = before.chars().rev().find(|c| !is_tone(*c));
    let toned = before.chars().rev().take_while(|c| is_tone(*c)).count();
    toned <= 2 && picture.is_some_and(is_picture) && behind.chars().next().is_some_and(is_picture)
}

fn is_picture(c: char) -> bool {
    matches!(u32::from(c), 0x2190..=0x21ff | 0x2600..=0x27bf | 0x2b05..=0x2b55 | 0x1f000..=0x1f1e5 | 0x1f200..=0x1f3fa | 0x1f400..=0x1faff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_clean(name: &str) -> bool {
        !without_meant_joiners(name)
            .contains(|c| matches!(c, NON_JOINER | JOINER | '\u{e0000}'..='\u{e007f}'))
    }

    #[test]
    fn joiners_that_are_written_in_a_language_are_meant() {
        for name in [
            "می\u{200c}خواهم.txt",
            "کتاب\u{200c}ها/خانه\u{200c}ای.pdf",
            "عَ\u{200c}ب",
            "क्\u{200d}ष.txt",
            "क्\u{200c}ष",
            "র\u{200d}\u{9cd}যাব.md",
            "ශ්\u{200d}රී ලංකා.txt",
            "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}.png",
            "\u{1f9d1}\u{1f3fd}\u{200d}\u{1f4bb} notes",
            "\u{2764}\u{fe0f}\u{200d}\u{1f525}",
            "\u{1f3f4}\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}.svg",
        ] {
            assert!(is_clean(name), "{name:?}");
        }
        assert_eq!(without_meant_joiners("a\u{200c}b"), "a\u{200c}b");
        assert_eq!(without_meant_joiners("می\u{200c}خ"), "میخ");
    }

    #[test]
    fn joiners_that_nobody_sees_are_not() {
        for name in [
            ".g\u{200c}it/hooks",
            "no\u{200d}tes.txt",
            "\u{200c}می",
            "می\u{200c}",
            "می\u{200c}.txt",
            "می\u{200c}\u{200c}خ",
            "a\u{200c}می",
            // This letter joins no other behind it.
            "کار\u{200c}ها",
            "می\u{200d}خ",
            "a\u{94d}\u{200d}b",
            "\u{1f468}\u{200d}a",
            "\u{1f468}\u{200d}",
            "\u{1f3f4}\u{e0061}\u{e0062}\u{e007f}",
            "x\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
            "раура\u{200c}l",
        ] {
            assert!(!is_clean(name), "{name:?}");
        }
    }
}
