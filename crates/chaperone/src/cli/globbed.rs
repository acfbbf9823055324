//! What a shell makes of `*` must not be taken for an option: whoever names a file `--unseen` would speak for the user.

use std::ffi::{OsStr, OsString};

/// Commands that take names of files after a session.
const TAKE_NAMES: &[&str] = &["changes", "commit", "discard", "undo"];
/// Their options with a value of its own.
const WITH_VALUE: &[&str] = &["--conflict", "--confirm", "--accept", "--commit"];

/// The first word after the session that reads as an option and is a file's name, too. Before the session stands what the user wrote,
/// and after a `--` there names begin.
pub fn mistaken<'a>(words: &'a [OsString], is_file: &dyn Fn(&OsStr) -> bool) -> Option<&'a OsStr> {
    let mut words = words.iter().skip(1).map(OsString::as_os_str);
    words.next().filter(|command| TAKE_NAMES.iter().any(|known| **command == **known))?;
    loop {
        let word = words.next()?;
        if word == "--" {
            return None;
        }
        if !is_dashed(word) {
            break;
        }
        if WITH_VALUE.iter().any(|option| word == *option) {
            words.next()?;
        }
    }
    words.find(|word| is_dashed(word) && is_file(word))
}

fn is_dashed(word: &OsStr) -> bool {
    word.as_encoded_bytes().starts_with(b"-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_called_like_an_option_is_none() {
        let names = ["--unseen", "-f", "--conflict=mine", "--", "--force", "notes.txt"];
        let of = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            mistaken(&words, &|word| names.iter().any(|name| word == *name))
                .map(|w| w.to_string_lossy().into_owned())
        };
        for (line, word) in [
            ("chaperone commit 3f2a --unseen notes.txt", "--unseen"),
            ("chaperone commit 3f2a -- --unseen", "--"),
            ("chaperone commit --json 3f2a a --conflict=mine", "--conflict=mine"),
            ("chaperone commit --conflict mine 3f2a -f", "-f"),
            ("chaperone commit --accept executable 3f2a --force", "--force"),
            ("chaperone discard 3f2a --", "--"),
            ("chaperone undo --commit 1 3f2a --force", "--force"),
            ("chaperone changes 3f2a --unseen", "--unseen"),
        ] {
            assert_eq!(of(line).as_deref(), Some(word), "{line}");
        }
        for line in [
            "chaperone commit 3f2a --json notes.txt",
            "chaperone commit --unseen 3f2a notes.txt",
            "chaperone commit -- 3f2a --unseen -f --",
            "chaperone commit 3f2a ./--unseen",
            "chaperone run -- --unseen",
            "chaperone why --unseen",
            "chaperone commit",
        ] {
            assert_eq!(of(line), None, "{line}");
        }
    }
}
