//! Whether two versions of a repository's settings differ only in what runs nothing and leads nowhere. What is not written as git
//! itself writes it is not taken for harmless.
//!
//! Source: git-config(1).

use super::pack::PACK;
use super::place::like;

/// What a value must not have: it could be a command, an address with a helper of its own, or be read otherwise by git.
const SPEAKING: &[char] = &['!', '`', '$', '|', ';', '"', '\\', '#', '&', '<', '>', '%', '~'];

/// Whether what is different between them is harmless.
#[must_use]
pub fn differ_harmlessly(before: &[u8], after: &[u8]) -> bool {
    let (Some(before), Some(after)) = (entries(before), entries(after)) else { return false };
    let speaks = |entry: &&(String, String)| !is_inert(entry);
    // Their order counts, too: of two the last holds.
    before.iter().filter(speaks).eq(after.iter().filter(speaks))
}

/// Whether these are the settings of a new repository that leads nowhere but to where it came from.
#[must_use]
pub fn are_plain(text: &[u8]) -> bool {
    let plain = |entry: &(String, String)| is_inert(entry) || is_of_every_one(entry);
    entries(text).is_some_and(|entries| entries.iter().all(plain))
}

fn is_of_every_one((key, value): &(String, String)) -> bool {
    let is_one = PACK.git.plain.iter().any(|pattern| like(pattern, key));
    let is_word = !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric());
    let is_address = key.ends_with("url") && value.starts_with("https://") && !value.contains(SPEAKING);
    let is_names = key.ends_with(".fetch") && value.starts_with("+refs/heads/*:refs/remotes/");
    is_one && (is_word && key.starts_with(['c', 'e']) || is_address || is_names && !value.contains(SPEAKING))
}

fn is_inert((key, value): &(String, String)) -> bool {
    let is_plain = !value.starts_with('-')
        && !value.contains(SPEAKING)
        && !value.contains("::")
        && !value.contains("..");
    // The name of a remote, not its address.
    let leads = key.ends_with(".remote") && value.contains(['/', ':', '\'']);
    is_plain && !leads && PACK.git.inert.iter().any(|pattern| like(pattern, key))
}

/// Keys with their sections in lower case, and values as they are written; nothing where a line is not plain.
fn entries(text: &[u8]) -> Option<Vec<(String, String)>> {
    let text = std::str::from_utf8(text).ok()?;
    if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        return None;
    }
    let (mut entries, mut section) = (Vec::new(), None);
    for line in text.lines().map(str::trim) {
        if line.is_empty() {
            continue;
        }
        if let Some(head) = line.strip_prefix('[') {
            section = Some(header(head.strip_suffix(']')?)?);
            continue;
        }
        let (key, value) = line.split_once('=')?;
        let (key, value) = (key.trim_end(), value.trim_start());
        let is_name = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        // The rest of a line that ends so is on the next one.
        if !is_name || value.ends_with('\\') {
            return None;
        }
        entries.push((format!("{}.{}", section.as_ref()?, key.to_ascii_lowercase()), value.to_owned()));
    }
    Some(entries)
}

/// `name` or `name "subsection"`.
fn header(head: &str) -> Option<String> {
    let (name, rest) = head.split_once(' ').unwrap_or((head, ""));
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let name = is_name.then(|| name.to_ascii_lowercase())?;
    if rest.is_empty() {
        return Some(name);
    }
    let inner = rest.strip_prefix('"')?.strip_suffix('"')?;
    (!inner.contains(['"', '\\', ']', '['])).then(|| format!("{name}.{inner}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "[core]\n\trepositoryformatversion = 0\n\tbare = false\n[remote \"origin\"]\n\turl = https://example.org/x.git\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n";

    fn harmless(after: &str) -> bool {
        differ_harmlessly(BEFORE.as_bytes(), after.as_bytes())
    }

    #[test]
    fn what_git_writes_all_day_is_harmless() {
        for more in [
            "",
            "[user]\n\tname = Ada Lovelace\n\temail = ada@example.org\n",
            "[branch \"side\"]\n\tremote = origin\n\tmerge = refs/heads/side\n\trebase = true\n",
            "[branch \"a/b\"]\n\tremote = .\n[pull]\n\trebase = true\n[color]\n\tui = auto\n",
        ] {
            assert!(harmless(&format!("{BEFORE}{more}")), "{more}");
        }
        let with = format!("{BEFORE}[user]\n\tname = A\n");
        assert!(differ_harmlessly(with.as_bytes(), BEFORE.as_bytes()));
    }

    #[test]
    fn a_new_repository_has_plain_settings() {
        assert!(are_plain(BEFORE.as_bytes()));
        for more in [
            "[core]\n\thookspath = x\n",
            "[remote \"x\"]\n\turl = ext::sh\n",
            "[core]\n\tworktree = /x\n",
            "[remote \"x\"]\n\turl = ../y\n",
            "[include]\n\tpath = x\n",
        ] {
            assert!(!are_plain(format!("{BEFORE}{more}").as_bytes()), "{more}");
        }
    }

    #[test]
    fn what_runs_something_or_leads_elsewhere_is_not() {
        for more in [
            "[core]\n\tfsmonitor = x\n",
            "[core]\n\thookspath = x\n",
            "[alias]\n\tst = status\n",
            "[filter \"x\"]\n\tclean = y\n",
            "[include]\n\tpath = x\n",
            "[remote \"new\"]\n\turl = ext::sh\n",
            "[submodule \"s\"]\n\turl = x\n",
            "[branch \"side\"]\n\tremote = ext::sh -c x\n",
            "[branch \"side\"]\n\tremote = /tmp/x\n",
            "[user]\n\tname = a\\\n\tb\n",
            "[user]\n\tname = \"a\n",
            "[user]\n\tname = a\n\u{1}",
            "[user]\n\tsigningkey = x\n",
            "[branch \"x\\\"y\"]\n\tremote = origin\n",
            "[user] name = a\n",
            "[pull]\n\trebase\n",
            "[color]\n\tui = !x\n",
            "[core.hooks]\n\tpath = x\n",
        ] {
            assert!(!harmless(&format!("{BEFORE}{more}")), "{more}");
        }
        // What stood there gets another section, another order, or goes.
        assert!(!harmless(&BEFORE.replace("[remote \"origin\"]", "[user]\n[remote \"other\"]")));
        assert!(!harmless(&BEFORE.replace("\tbare = false\n", "")));
        assert!(!harmless(&BEFORE.replace("example.org", "example.com")));
        assert!(!differ_harmlessly(b"[pull]\n", b"\xff"));
    }
}
