//! A place in a path: names with `*`, as the packs write them.

use serde::Deserialize;
use serde::de::Deserializer;

/// One or several names in a row, anywhere in a path.
#[derive(Debug, Clone)]
pub(super) struct Place {
    names: Vec<String>,
    /// Whatever is below the last name, and not the name itself.
    below: bool,
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self::new(&String::deserialize(from)?))
    }
}

impl Place {
    pub(super) fn new(text: &str) -> Self {
        let below = text.ends_with('/');
        let names = text.trim_end_matches('/').split('/').map(str::to_owned).collect();
        Self { names, below }
    }

    /// One name or several, and not whatever is below them.
    pub(super) fn is_name(&self) -> bool {
        !self.below
    }

    /// The same, where the path begins.
    pub(super) fn has_from_top(&self, path: &[&str], holds: bool) -> bool {
        let own = path.get(..self.names.len()).unwrap_or_default();
        let ends = own.len() == path.len();
        let begins = own.len() == self.names.len()
            && self.names.iter().zip(own).all(|(pattern, name)| like(pattern, name));
        begins && if self.below { !ends || holds } else { ends }
    }

    /// How many names stand before this place, where the path is at it.
    pub(super) fn before(&self, path: &[&str]) -> Option<usize> {
        let found = |start: &usize| {
            let part = path.get(*start..).unwrap_or_default();
            self.has_from_top(part, false)
        };
        (0..path.len()).find(found)
    }

    /// Whether the path, as names in lower case, is at this place. `holds`: what the path names stands for a directory and so
    /// for whatever is below it.
    pub(super) fn has(&self, path: &[&str], holds: bool) -> bool {
        let fits = |start: usize| {
            let Some(part) = path.get(start..start + self.names.len()) else { return false };
            let ends = start + self.names.len() == path.len();
            let at_end = if self.below { !ends || holds } else { ends };
            at_end && self.names.iter().zip(part).all(|(pattern, name)| like(pattern, name))
        };
        if self.below {
            (0..path.len()).any(fits)
        } else {
            path.len().checked_sub(self.names.len()).is_some_and(fits)
        }
    }
}

/// Whether a name is as the pattern says, in which `*` stands for anything, also for nothing.
#[must_use]
pub fn like(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_directories_are_found_anywhere() {
        let has = |place: &str, path: &str, holds| {
            Place::new(place).has(&path.split('/').collect::<Vec<_>>(), holds)
        };
        assert!(has("makefile", "a/makefile", false) && !has("makefile", "makefile/a", false));
        assert!(has(".mvn/", "a/.mvn/b/c", false) && !has(".mvn/", "a/.mvn", false));
        assert!(has(".mvn/", "a/.mvn", true));
        assert!(
            has(".config/fish/", "x/.config/fish/a.fish", false) && !has(".config/fish/", "fish/a", false)
        );
        assert!(has("*/extensions/*/manifest.json", "a/extensions/b/manifest.json", false));
    }

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, name) in
            [("*.kts", "a.kts"), (".*rc", ".babelrc"), ("a*b*c", "aXbYc"), ("a*", "a"), ("so.*", "so.1")]
        {
            assert!(like(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("*.kts", "kts"), (".*rc", ".rcx"), ("a*b*c", "acb"), ("ab*ba", "aba"), ("a", "ab")]
        {
            assert!(!like(pattern, name), "{pattern} {name}");
        }
    }
}
