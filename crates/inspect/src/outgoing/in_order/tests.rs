use super::texts::MOST_LETTERS;
use super::*;

const TEXT: &str = "The branch in the north closed the year with a loss of eleven percent against the plan of the \
    board, which had been made before the strike at the port and was never brought up to date. Those who \
    signed it knew by May that it could not be kept, and told nobody before the audit in September. \
    What the auditors found by then was a hole of nine millions, two letters to a bank in Luxembourg, and a \
    plan to sell the dry dock through a company that belongs to the wife of the treasurer.";

/// How many letters of the text arrive when its pieces are sent as these texts, one a request.
fn arriving(pieces: impl IntoIterator<Item = (String, usize)>) -> usize {
    let mut known = InOrder::default();
    let other = "Nothing of this has anything to do with what is sent, but it is there and was read. ";
    known.add(1, other.repeat(40).as_bytes(), 0);
    known.add(2, TEXT.as_bytes(), 0);
    known.index();
    let mut progress = Progress::default();
    let mut is_clean = |text: &str| {
        let hits = known.look([text.as_bytes()].into_iter(), &mut progress);
        assert!(hits.iter().all(|hit| hit.source_id == 2));
        hits.is_empty()
    };
    pieces.into_iter().filter(|(text, _)| is_clean(text)).map(|(_, letters)| letters).sum()
}

fn cut(length: usize, step: usize) -> Vec<String> {
    let starts = (0..TEXT.len()).step_by(step);
    starts.filter_map(|at| Some(TEXT.get(at..(at + length).min(TEXT.len()))?.to_owned())).collect()
}

const TEMPLATES: [&str; 4] = ["please note X here", "I saw X again", "X was there", "what about X?"];

fn reversed(piece: &str) -> String {
    piece.chars().rev().collect()
}

/// What carries the piece of this number.
type Form = fn(usize, &str) -> String;

#[test]
fn pieces_in_order_are_a_passage_whatever_stands_between_them() {
    let forms: [(&str, usize, usize, Form); 8] = [
        ("each reaching into the next", 8, 5, |_, p| p.to_owned()),
        ("reversed each", 8, 8, |_, p| reversed(p)),
        ("in turns", 9, 9, |n, p| if n % 2 == 0 { p.to_owned() } else { reversed(p) }),
        ("between words that change", 8, 8, |n, p| TEMPLATES.get(n % 4).unwrap_or(&"").replace('X', p)),
        ("behind a counter", 8, 8, |n, p| format!("id{n}-{p}")),
        ("before a sum", 8, 8, |n, p| format!("{p}{:08x}", n.wrapping_mul(2_654_435_761))),
        ("in cells", 4, 4, |n, p| format!("<tr><td>{n}</td><td>{p}</td></tr>")),
        ("in a document", 5, 5, |n, p| format!("{{\"id\": {n}, \"v\": \"{p}\"}}")),
    ];
    for (form, length, step, with) in forms {
        let pieces = cut(length, step);
        let sent = pieces.iter().enumerate().map(|(n, piece)| (with(n, piece), step));
        let arrived = arriving(sent);
        let most = if length > 4 { 180 } else { 360 };
        assert!(arrived < most, "{form}: {arrived} of {}", TEXT.len());
        let all: String = pieces.iter().enumerate().map(|(n, p)| format!("{}\n", with(n, p))).collect();
        assert_eq!(arriving([(all, 1)]), 0, "{form}, in one");
    }
}

#[test]
fn what_was_refused_does_not_go_on_in_other_pieces() {
    let pieces = cut(6, 6);
    let halves = |piece: &str| {
        let (one, two) = piece.split_at(piece.len() / 2);
        [two, one].map(|half| half.chars().rev().collect::<String>())
    };
    // Of each piece its halves, when it was refused.
    let sent = pieces.iter().flat_map(|piece| std::iter::once(piece.clone()).chain(halves(piece)));
    let arrived = arriving(sent.map(|text| (text.clone(), text.len())));
    assert!(arrived < 540, "{arrived} of {}", TEXT.len() * 2);
}

#[test]
fn ordinary_texts_are_none() {
    let mut known = InOrder::default();
    let guide = include_str!("../../../../../docs/user-guide.md");
    let mut progress = Progress::default();
    known.add(1, guide.as_bytes(), 0);
    known.add(2, include_bytes!("chains.rs"), 0);
    known.index();
    let others = [
        include_str!("../../../../../docs/threat-model.md"),
        include_str!("../../../../../ARCHITECTURE.md"),
        include_str!("../fingerprint.rs"),
        include_str!("../scattered.rs"),
    ];
    for other in others {
        for text in other.as_bytes().chunks(600) {
            let hits = known.look([text].into_iter(), &mut progress);
            assert_eq!(hits, [], "{}", String::from_utf8_lossy(text));
        }
    }
}

#[test]
fn what_is_kept_of_a_recipient_is_bounded_whatever_is_sent() {
    let mut known = InOrder::default();
    let guide = include_str!("../../../../../docs/user-guide.md");
    known.add(1, guide.as_bytes(), 0);
    known.index();
    let mut progress = Progress::default();
    // Every other letter of the text itself, as much of it as one body may be.
    let sent: Vec<u8> =
        guide.bytes().filter(u8::is_ascii_alphanumeric).step_by(2).cycle().take(64 << 10).collect();
    known.look([sent.as_slice()].into_iter(), &mut progress);
    assert!(progress.most < 16_384, "{}", progress.most);
}

#[test]
fn the_oldest_are_forgotten() {
    let mut known = InOrder::default();
    let mut noise = 1_u64;
    let mut text = || -> Vec<u8> {
        let next = |_| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            b'a' + (noise >> 40) as u8 % 26
        };
        (0..MOST_LETTERS / 8).map(next).collect()
    };
    let texts: Vec<Vec<u8>> = (0..24).map(|_| text()).collect();
    for (id, text) in texts.iter().enumerate() {
        known.add(id as u32, text, 0);
    }
    assert!(known.is_behind());
    known.index();
    let hits = |text: &[u8]| {
        let mut pieces: Vec<Vec<u8>> = Vec::new();
        text.get(..400).unwrap_or_default().chunks(8).for_each(|p| pieces.push([p, b" zzzz"].concat()));
        known.look(pieces.iter().map(Vec::as_slice), &mut Progress::default())
    };
    assert_eq!(hits(&texts[0]), []);
    assert_eq!(hits(&texts[23]).first().map(|hit| hit.source_id), Some(23));
    assert!(known.letters.len() <= MOST_LETTERS && known.before.len() == known.letters.len());
}
