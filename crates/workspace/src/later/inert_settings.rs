//! Whether two versions of a repository's settings differ only in what runs nothing and leads nowhere. What is not written as git
//! itself writes it is not taken for harmless.
//!
//! Source: git-config(1).

use std::collections::BTreeSet;

use super::pack::PACK;
use super::place::like;

/// A key with its section, and its value.
type Entry = (String, String);

/// What a value must not have: it could be a command, an address with a helper of its own, or be read otherwise by git.
const SPEAKING: &[char] = &['!', '`', '$', '|', ';', '"', '\\', '#', '&', '<', '>', '%', '~'];

/// Whether what is different between them is harmless.
#[must_use]
pub fn differ_harmlessly(before: &[u8], after: &[u8]) -> bool {
    let (Some(before), Some(after)) = (entries(before), entries(after)) else { return false };
    let added = remotes(&after).into_iter().filter(|name| is_only_fetched_from(name, &before, &after));
    let added: BTreeSet<&str> = added.collect();
    let is_of_added = |(key, _): &(String, String)| remote_of(key).is_some_and(|name| added.contains(name));
    let speaks = |entry: &&(String, String)| !is_inert(entry) && !is_of_added(entry);
    // Their order counts, too: of two the last holds.
    before.iter().filter(speaks).eq(after.iter().filter(speaks))
        && after.iter().all(|entry| !follows(entry) || before.contains(entry) || is_followed(entry, &before))
}

/// Whether a remote is new, with an ordinary address, and nothing is sent to it that nobody sends there by its name.
fn is_only_fetched_from(name: &str, before: &[Entry], after: &[Entry]) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let own: Vec<&Entry> = after.iter().filter(|(key, _)| remote_of(key) == Some(name)).collect();
    let branches = format!("+refs/heads/*:refs/remotes/{name}/*");
    let is_ordinary = |(key, value): &&Entry| match key.rsplit('.').next() {
        Some("url") => is_address(value),
        Some("fetch") => *value == branches,
        _ => false,
    };
    let known = remotes(before);
    // Git turns to a remote by itself when it is the only one, or called so.
    let is_default = known.is_empty() || name == "origin";
    let is_named = |(key, value): &Entry| {
        let names = ["pushdefault", "pushremote", "remote", "default"];
        remote_of(key).is_none()
            && value == name
            && key.rsplit('.').next().is_some_and(|end| names.contains(&end))
    };
    !known.contains(name)
        && !is_default
        && !name.starts_with('-')
        && name.chars().all(is_plain)
        && own.iter().all(is_ordinary)
        && own.iter().filter(|(key, _)| key.ends_with(".url")).count() == 1
        && !before.iter().chain(after).any(is_named)
}

/// Of a branch what it follows, and so where it is sent.
fn follows((key, value): &Entry) -> bool {
    like("branch.*.remote", key) && value != "."
}

/// Whether a branch that followed nothing follows what was the default before: a remote that came since without a question is none.
fn is_followed((key, value): &Entry, before: &[Entry]) -> bool {
    let known = remotes(before);
    let is_usual = value == "origin"
        || known.len() == 1 && known.contains(value.as_str())
        || before.iter().any(|entry| follows(entry) && entry.1 == *value);
    is_usual && !before.iter().any(|(other, was)| other == key && was != value)
}

/// An address at a host, in one of the forms that git has without a helper.
fn is_address(value: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./@:+".contains(c);
    let is_host = |host: &str| !host.is_empty() && !host.starts_with(['-', '.', '/']);
    let behind = ["https://", "ssh://", "git://"].iter().find_map(|scheme| value.strip_prefix(scheme));
    let (user, rest) = behind.unwrap_or(value).split_once('@').unwrap_or(("git", behind.unwrap_or(value)));
    let has_host = match behind {
        Some(_) => is_host(rest),
        // `user@host:path`; without the user it could be anything.
        None => {
            value.contains('@')
                && rest.split_once(':').is_some_and(|(host, path)| {
                    is_host(host) && !host.contains('/') && !path.is_empty() && !path.starts_with([':', '-'])
                })
        }
    };
    let is_user = !user.is_empty() && user.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    has_host
        && is_user
        && !user.starts_with('-')
        && value.chars().all(is_plain)
        && !value.contains("::")
        && !value.contains("..")
}

/// The names of all remotes.
fn remotes(entries: &[Entry]) -> BTreeSet<&str> {
    entries.iter().filter_map(|(key, _)| remote_of(key)).collect()
}

/// Of which remote a setting is.
fn remote_of(key: &str) -> Option<&str> {
    Some(key.strip_prefix("remote.")?.rsplit_once('.')?.0)
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
    let is_web = value.starts_with("https://") && !value.contains(SPEAKING);
    let is_from = key.ends_with("url") && (is_web || is_address(value) || is_directory(value));
    let is_names = key.ends_with(".fetch")
        && value.starts_with("+refs/heads/")
        && value.contains(":refs/remotes/")
        && !value.contains(SPEAKING);
    let is_without_tags = key.ends_with(".tagopt") && value == "--no-tags";
    is_one && (is_word && key.starts_with(['c', 'e']) || is_from || is_names || is_without_tags)
}

/// A repository on the same machine, as `git clone` writes it: an absolute path, which git takes for no address and no helper.
fn is_directory(value: &str) -> bool {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./@+, ".contains(c);
    value.starts_with('/')
        && !value.starts_with("//")
        && value.chars().all(is_plain)
        && value.split('/').all(|name| name != "..")
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
    fn another_remote_that_nothing_is_sent_to_is_harmless() {
        let fork = |name: &str, url: &str| {
            format!("[remote \"{name}\"]\n\turl = {url}\n\tfetch = +refs/heads/*:refs/remotes/{name}/*\n")
        };
        for url in [
            "https://github.com/you/x",
            "ssh://git@example.org:22/x.git",
            "git://example.org/x",
            "git@example.org:you/x.git",
        ] {
            assert!(harmless(&format!("{BEFORE}{}", fork("fork", url))), "{url}");
        }
        for url in [
            "ext::sh -c x",
            "file:///tmp/x",
            "/tmp/x",
            "../x",
            "x",
            "host:x",
            "-x@h:y",
            "https://-oProxyCommand=x/y",
            "ssh://-oProxyCommand=x/y",
            "https://a:b@example.org/x",
            "foo::https://example.org/x",
            "http://example.org/x",
        ] {
            assert!(!harmless(&format!("{BEFORE}{}", fork("fork", url))), "{url}");
        }
        let plain = fork("fork", "https://github.com/you/x");
        for more in [
            "\tpushurl = https://example.com/x\n",
            "\tuploadpack = x\n",
            "\tpush = +refs/heads/*\n",
            "\turl = https://example.com/x\n",
            "[branch \"main\"]\n\tremote = fork\n",
            "[remote]\n\tpushdefault = fork\n",
            "[remote \"fork\"]\n\tmirror = true\n",
            "[remote \"origin\"]\n\turl = https://example.com/x\n",
        ] {
            assert!(!harmless(&format!("{BEFORE}{plain}{more}")), "{more}");
        }
        assert!(!harmless(&format!(
            "{BEFORE}{}",
            fork("fork", "https://e.org/x").replace("remotes/fork", "heads")
        )));
        // The only remote, or the usual one, is where a branch goes.
        assert!(!differ_harmlessly(
            b"[core]\n\tbare = false\n",
            format!("[core]\n\tbare = false\n{plain}").as_bytes()
        ));
        // What came without a question does not become where something is sent without one.
        let both = format!("{BEFORE}{plain}");
        let then = |more: &str| differ_harmlessly(both.as_bytes(), format!("{both}{more}").as_bytes());
        assert!(!then("[branch \"main\"]\n\tremote = fork\n"));
        assert!(then("[branch \"main\"]\n\tremote = origin\n"));
        let follows = format!("{BEFORE}[branch \"main\"]\n\tremote = fork\n");
        assert!(!differ_harmlessly(follows.as_bytes(), format!("{follows}{plain}").as_bytes()));
        assert!(!differ_harmlessly(both.as_bytes(), BEFORE.as_bytes()));
        assert!(harmless(&format!("{BEFORE}[core]\n\tautocrlf = input\n")));
    }

    #[test]
    fn a_new_repository_has_plain_settings() {
        assert!(are_plain(BEFORE.as_bytes()));
        // As `git clone` writes them, from everywhere that it clones from.
        for url in
            ["https://example.org/x", "git@example.org:you/x.git", "/workspace/a project/x", "/srv/x.git/"]
        {
            let cloned = format!(
                "[core]\n\tbare = false\n[remote \"origin\"]\n\turl = {url}\n\ttagOpt = --no-tags\n\tfetch = +refs/heads/main:refs/remotes/origin/main\n[branch \"main\"]\n\tremote = origin\n\tmerge = refs/heads/main\n"
            );
            assert!(are_plain(cloned.as_bytes()), "{url}");
        }
        assert!(are_plain(b"[core]\n\tbare = true\n[remote \"origin\"]\n\turl = /workspace/x\n"));
        for more in [
            "[core]\n\thookspath = x\n",
            "[remote \"x\"]\n\turl = ext::sh\n",
            "[core]\n\tworktree = /x\n",
            "[remote \"x\"]\n\turl = ../y\n",
            "[remote \"x\"]\n\turl = /a/../b\n",
            "[remote \"x\"]\n\turl = /a:b\n",
            "[remote \"x\"]\n\turl = /a;b\n",
            "[remote \"x\"]\n\turl = //host/b\n",
            "[remote \"x\"]\n\turl = -x\n",
            "[remote \"x\"]\n\ttagOpt = --upload-pack=x\n",
            "[remote \"x\"]\n\tuploadpack = x\n",
            "[remote \"x\"]\n\tfetch = +refs/heads/*:refs/heads/*\n",
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
