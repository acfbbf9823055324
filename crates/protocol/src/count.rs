//! How many of something there are, in words.

use std::fmt::Display;

/// `1 change`, `2 changes`, `0 directories`: a number with its noun, which is given for one. What follows the noun is the caller's.
#[must_use]
pub fn counted<N: Display + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    if count == N::from(1) {
        return format!("{count} {noun}");
    }
    let vowel_before_y = |stem: &str| stem.ends_with(['a', 'e', 'i', 'o', 'u']);
    match noun.strip_suffix('y') {
        Some(stem) if !vowel_before_y(stem) => format!("{count} {stem}ies"),
        _ if noun.ends_with(['s', 'x']) || noun.ends_with("ch") => format!("{count} {noun}es"),
        _ => format!("{count} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_one_and_anything_else_is_many() {
        assert_eq!(counted(1_usize, "file"), "1 file");
        assert_eq!(counted(0_u64, "file"), "0 files");
        assert_eq!(counted(2_u32, "directory"), "2 directories");
        assert_eq!(counted(1_u64, "directory"), "1 directory");
        assert_eq!(counted(3_i64, "key"), "3 keys");
        assert_eq!(counted(2_u64, "address"), "2 addresses");
        assert_eq!(counted(2_u64, "staged change"), "2 staged changes");
    }
}
