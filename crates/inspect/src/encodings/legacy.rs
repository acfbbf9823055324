//! Text in the character sets that were in use before UTF-8, of scripts other than Latin, as UTF-8. Which of them it is in does not stand
//! in it, so that there may be several readings.
//!
//! Source: the Encoding Standard of WHATWG.

use encoding_rs::Encoding;

/// Those of scripts of which a text is hardly ASCII.
const SETS: [&Encoding; 11] = [
    encoding_rs::GB18030,
    encoding_rs::BIG5,
    encoding_rs::SHIFT_JIS,
    encoding_rs::EUC_JP,
    encoding_rs::EUC_KR,
    encoding_rs::WINDOWS_1251,
    encoding_rs::KOI8_R,
    encoding_rs::WINDOWS_1256,
    encoding_rs::WINDOWS_1253,
    encoding_rs::WINDOWS_1255,
    encoding_rs::WINDOWS_874,
];
/// Bytes that are looked at to tell such a text from what is none.
const HEAD: usize = 4096;
/// Longer texts are not read. Protects time: each is read up to eleven times.
const MOST: usize = 4 << 20;
/// Of a text in such a script so many bytes of a hundred are not ASCII, at least.
const LEAST_OF_HUNDRED: usize = 30;

/// What the bytes say, in each set in which they are nearly all letters; nothing where they are UTF-8 or no text.
pub(crate) fn readings(bytes: &[u8]) -> Vec<Vec<u8>> {
    let head = bytes.get(..HEAD).unwrap_or(bytes);
    if bytes.len() > MOST || super::is_utf8(head) {
        return Vec::new();
    }
    let is_text = |b: &u8| *b >= b' ' && *b != 0x7f || matches!(b, b'\n' | b'\r' | b'\t');
    let other = head.iter().filter(|b| !b.is_ascii()).count();
    if !head.iter().all(is_text) || other * 100 < head.len() * LEAST_OF_HUNDRED {
        return Vec::new();
    }
    SETS.iter().filter_map(|set| reading(bytes, head, set)).collect()
}

fn reading(bytes: &[u8], head: &[u8], set: &'static Encoding) -> Option<Vec<u8>> {
    let (text, broken) = set.decode_without_bom_handling(head);
    let (mut all, mut letters) = (0, 0);
    for c in text.chars().filter(|c| !c.is_ascii()) {
        all += 1;
        letters += usize::from(
            c.is_alphanumeric()
                || ('\u{3000}'..='\u{303f}').contains(&c)
                || ('\u{ff00}'..='\u{ffef}').contains(&c),
        );
    }
    // The end of the head may cut a letter.
    let is_sound = !broken || text.chars().rev().skip(2).all(|c| c != '\u{fffd}');
    if !is_sound || letters * 10 < all * 9 {
        return None;
    }
    Some(set.decode_without_bom_handling(bytes).0.into_owned().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_script_is_read_from_its_sets_and_noise_from_none() {
        let texts = [
            ("Филиал на севере закрыл год с убытком против плана правления.", encoding_rs::WINDOWS_1251),
            ("Филиал на севере закрыл год с убытком против плана правления.", encoding_rs::KOI8_R),
            ("北方分公司今年亏损百分之十一，与董事会的计划相反。", encoding_rs::GB18030),
            ("北方分公司今年虧損百分之十一，與董事會的計劃相反。", encoding_rs::BIG5),
            ("北支店は取締役会の計画に対して損失で年度を終えました。", encoding_rs::SHIFT_JIS),
            ("北支店は取締役会の計画に対して損失で年度を終えました。", encoding_rs::EUC_JP),
            ("북부 지점은 이사회 계획에 비해 손실로 한 해를 마감했습니다.", encoding_rs::EUC_KR),
            ("أغلق الفرع في الشمال العام بخسارة مقابل خطة المجلس", encoding_rs::WINDOWS_1256),
        ];
        for (text, set) in texts {
            let (bytes, _, lost) = set.encode(text);
            assert!(!lost, "{text}");
            let found = readings(&bytes);
            assert!(found.iter().any(|reading| reading == text.as_bytes()), "{text} in {}", set.name());
            assert!(readings(text.as_bytes()).is_empty());
        }
        let (mut seed, mut noise) = (9, Vec::new());
        noise.resize_with(10_000, || super::super::noise(&mut seed));
        assert!(readings(&noise).is_empty());
        assert!(readings("Die Brücke für Übungen".as_bytes()).is_empty());
        assert!(readings(b"Die Br\xfccke f\xfcr \xdcbungen").is_empty());
    }
}
