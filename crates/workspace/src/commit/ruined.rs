//! Files of the user's that a commit would leave in place without what was in them: what was a text, or a document of a known kind, is
//! bytes without any form, as encryption leaves them. One such file is a change like any other; many at once are counted as taken away.
//!
//! What keeps a form is not known by this: the beginning of its kind, ciphers written as text, files of which only parts are changed.

use std::collections::HashSet;

use chaperone_staging::{Change, Kind, Op, facts};

use super::own::{self, HEAD};
use crate::mount::LiveMount;

/// Fewer changed files than this are not looked at for it: so many may be taken away without a question.
const FEW: usize = 10;
/// Bytes from which it shows whether they have a form.
const LEAST: usize = 64;
/// How far counts of byte values are from being equal, as a chi-squared of 255 degrees of freedom: by chance it is 255 ± 23. Texts and
/// tables are at a thousand and more.
const FORMLESS: f64 = 400.0;
/// How contents begin that are pressed together, and so look formless: by offset.
const PRESSED: &[(usize, &[u8])] = &[
    (0, b"RIFF"),
    (0, b"GIF8"),
    (0, b"OggS"),
    (0, b"fLaC"),
    (0, b"ID3"),
    (0, b"BZh"),
    (0, b"\xfd7zXZ\0"),
    (0, b"\x28\xb5\x2f\xfd"),
    (0, b"7z\xbc\xaf\x27\x1c"),
    (0, b"wOFF"),
    (0, b"wOF2"),
    (0, b"\xff\x0a"),
    (0, b"SQLite format 3\0"),
    (0, b"\xff\xfb"),
    (4, b"ftyp"),
    (4, b"JXL "),
];
/// What git keeps in a checkout in place of a large file, until that is fetched.
const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// Paths of such files.
pub(super) fn of(mount: &LiveMount, changes: &[Change]) -> HashSet<String> {
    let is_overwritten = |c: &&Change| c.op == Op::Modify && c.kind == Kind::File && c.blob.is_some();
    if changes.iter().filter(is_overwritten).count() <= FEW {
        return HashSet::new();
    }
    let is_ruined = |change: &&Change| {
        // One more name of another file leaves nothing of this one.
        if change.same_as.as_ref().is_some_and(|same| same.path != change.path) {
            return true;
        }
        let now = change.blob.as_deref().and_then(own::staged).and_then(|file| own::read(&file, HEAD));
        now.filter(|now| is_formless(change, now)).is_some_and(|_| {
            let then = own::open(mount, &change.path).and_then(|file| own::read(&file, HEAD));
            then.is_some_and(|then| !then.is_empty() && !then.starts_with(POINTER) && has_form(change, &then))
        })
    };
    changes.iter().filter(is_overwritten).filter(is_ruined).map(|c| c.path.clone()).collect()
}

/// Whether content that begins so is a text, or of a known kind.
fn has_form(change: &Change, head: &[u8]) -> bool {
    let is_pressed = |(at, mark): &(usize, &[u8])| head.get(*at..).is_some_and(|rest| rest.starts_with(mark));
    facts(change, head).type_by_magic != "binary" || PRESSED.iter().any(is_pressed)
}

fn is_formless(change: &Change, head: &[u8]) -> bool {
    if head.len() < LEAST {
        return false;
    }
    if is_blank(head) {
        return true;
    }
    if has_form(change, head) {
        return false;
    }
    let mut counts = [0u32; 256];
    for byte in head {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let squares: f64 = counts.iter().map(|count| f64::from(*count).powi(2)).sum();
    let all = head.len() as f64;
    squares * 256.0 / all - all < FORMLESS
}

/// The same sign over and over, or nothing but blanks.
fn is_blank(head: &[u8]) -> bool {
    let first = head.first().copied().unwrap_or_default();
    head.iter().all(|b| *b == first) || head.iter().all(u8::is_ascii_whitespace)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use chaperone_staging::BaseVersion;

    use super::super::looked::tests::Directory;
    use super::*;

    /// Bytes as a cipher leaves them.
    fn noise(seed: u64, bytes: usize) -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 24) as u8
        };
        (0..bytes).map(|_| next()).collect()
    }

    /// Which of 60 files are ruined when each `then` becomes `now`.
    fn ruined(then: impl Fn(u64) -> Vec<u8>, now: impl Fn(u64, &[u8]) -> Vec<u8>) -> usize {
        let directory = Directory::new(&[]);
        let mount = &directory.mount;
        std::fs::create_dir_all(&mount.stage_dir).unwrap();
        let change = |n: u64| {
            let (path, blob) = (format!("f{n}"), mount.stage_dir.join(n.to_string()));
            let before = then(n);
            std::fs::write(mount.source.join(&path), &before).unwrap();
            std::fs::write(&blob, now(n, &before)).unwrap();
            let base = rustix::fs::lstat(mount.source.join(&path)).ok().map(|stat| BaseVersion::of(&stat));
            Change { blob: Some(blob), base, ..Change::blank(path, Op::Modify, Kind::File) }
        };
        let changes: Vec<Change> = (0..60).map(change).collect();
        of(mount, &changes).len()
    }

    fn text(n: u64) -> Vec<u8> {
        (0..40)
            .map(|line| format!("The {n}th river of line {line} goes past the mill.\n"))
            .collect::<String>()
            .into()
    }

    fn picture(n: u64) -> Vec<u8> {
        [b"\x89PNG\r\n\x1a\n".as_slice(), &noise(n, 2_000)].concat()
    }

    #[test]
    fn what_is_overwritten_with_noise_is_ruined() {
        assert_eq!(ruined(text, |n, then| noise(n, then.len())), 60);
        assert_eq!(ruined(|n| text(n)[..90].to_vec(), |n, _| noise(n, 90)), 60);
        assert_eq!(ruined(picture, |n, then| noise(n + 100, then.len())), 60);
        for sign in [0, b' ', 0xff] {
            assert_eq!(ruined(text, |_, then| vec![sign; then.len()]), 60, "{sign}");
        }
        let but_the_beginning = |n: u64, then: &[u8]| [&then[..64], &noise(n, then.len())].concat();
        assert_eq!(ruined(text, but_the_beginning), 60);
    }

    #[test]
    fn what_formatters_converters_and_checkouts_write_is_not() {
        let edited =
            |_: u64, then: &[u8]| String::from_utf8_lossy(then).replace("river", "stream").into_bytes();
        assert_eq!(ruined(text, edited), 0);
        assert_eq!(ruined(picture, |n, _| picture(n + 100)), 0, "pressed anew");
        let webp = |n: u64, _: &[u8]| [b"RIFF\0\0\0\0WEBP".as_slice(), &noise(n, 2_000)].concat();
        assert_eq!(ruined(picture, webp), 0);
        let utf16 = |_: u64, then: &[u8]| then.iter().flat_map(|byte| [*byte, 0]).collect::<Vec<u8>>();
        assert_eq!(ruined(text, utf16), 0);
        let latin = |_: u64, then: &[u8]| {
            then.iter().map(|b| if *b == b'e' { 0xe9 } else { *b }).collect::<Vec<u8>>()
        };
        assert_eq!(ruined(text, latin), 0);
        let table = |n: u64, _: &[u8]| {
            (0..500u32).flat_map(|at| (at * 7 + n as u32).to_le_bytes()).collect::<Vec<u8>>()
        };
        assert_eq!(ruined(text, table), 0, "numbers");
        // Large files that are fetched in place of what stands for them, and what had no form before.
        let pointer = |n: u64| [POINTER, format!("v1\noid sha256:{n:064}\nsize 9\n").as_bytes()].concat();
        assert_eq!(ruined(pointer, |n, _| noise(n, 2_000)), 0);
        assert_eq!(ruined(|n| noise(n, 900), |n, _| noise(n + 100, 900)), 0);
    }
}
