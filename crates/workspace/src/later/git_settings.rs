//! What the settings of a repository of git name: files that it runs or obeys, and directories of them.
//!
//! Source: git-config(1).

use super::pack::PACK;
use super::place::like;

/// One name in a file of settings, as it is written there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// A file or a directory, by a setting that is a path.
    Path(String),
    /// The same, and the file is settings, too.
    Settings(String),
    /// A word of any value that may be a file.
    Word(String),
    /// Where the work tree is.
    WorkTree(String),
}

/// Everything that the settings name.
#[must_use]
pub fn named_in_git_settings(text: &str) -> Vec<Named> {
    let mut all = Vec::new();
    for (key, value) in entries(text) {
        let is = |patterns: &[String]| patterns.iter().any(|pattern| like(pattern, &key));
        if key == "include.path" || like("includeif.*.path", &key) {
            all.push(Named::Settings(value));
        } else if key == "core.worktree" {
            all.push(Named::WorkTree(value));
        } else if is(&PACK.git.paths) {
            all.push(Named::Path(value));
        } else {
            // Without it an alias is a command of git's own.
            let is_own = key.starts_with("alias.") && !value.starts_with('!');
            all.extend(words(&value, is(&PACK.git.commands) && !is_own).map(Named::Word));
        }
    }
    all
}

/// Lists of what is run at a step of git, by their names in a work tree.
#[must_use]
pub fn hook_lists() -> &'static [String] {
    &PACK.git.hook_lists
}

/// What a list of hooks runs at a step of git.
#[must_use]
pub fn named_in_hook_list(name: &str, text: &str) -> Vec<Named> {
    let lower = name.to_lowercase();
    if !hook_lists().contains(&lower) {
        return Vec::new();
    }
    let lines: Vec<&str> = text.lines().collect();
    let mut named = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        for (indent, value) in PACK.git.hook_keys.iter().filter_map(|key| value_of(line, key)) {
            named.push(value.to_owned());
            // A value may be in the lines below that are further in.
            let value = value.trim();
            if value.is_empty() || value.starts_with(['|', '>', '[']) {
                let is_inside = |line: &&&str| {
                    line.trim().is_empty()
                        || line.len() - line.trim_start().len() > indent
                        || line.trim_start().starts_with(']')
                };
                let below = lines.iter().skip(at + 1).take_while(is_inside);
                named.extend(below.map(|line| line.trim_start_matches([' ', '-']).to_owned()));
            }
        }
    }
    let plain = |value: &String| value.replace(['{', '}', '[', ']'], " ");
    named.iter().flat_map(|value| words(&plain(value), true).collect::<Vec<_>>()).map(Named::Word).collect()
}

/// What stands behind a key on a line, also within braces, and how far in the line begins.
fn value_of<'l>(line: &'l str, key: &str) -> Option<(usize, &'l str)> {
    let found = line.match_indices(key).find_map(|(at, _)| {
        let before = line.get(..at)?.chars().next_back();
        let value = line.get(at + key.len()..)?.trim_start_matches('"').trim_start().strip_prefix(':')?;
        before.is_none_or(|c| matches!(c, ' ' | '\t' | '{' | ',' | '"' | '-')).then_some(value)
    });
    found.map(|value| (line.len() - line.trim_start().len(), value))
}

/// The words of a value that may be files: of a command all, of another value those that look like one.
fn words(value: &str, is_command: bool) -> impl Iterator<Item = String> {
    let cut = |c: char| {
        c.is_whitespace()
            || matches!(c, '"' | '\'' | ';' | '|' | '&' | '(' | ')' | '=' | '!' | '<' | '>' | '`' | ',')
    };
    value
        .split(cut)
        .filter(move |word| !word.is_empty() && (is_command || word.contains(['/', '.'])))
        .map(str::to_owned)
}

/// Keys with their sections in lower case, and values.
fn entries(text: &str) -> Vec<(String, String)> {
    let (mut all, mut section) = (Vec::new(), String::new());
    let joined = text.replace("\\\r\n", "").replace("\\\n", "");
    for line in joined.lines() {
        let mut rest = line.trim_start_matches(['\u{feff}', ' ', '\t']);
        if let Some(head) = rest.strip_prefix('[') {
            let Some((name, after)) = header(head) else { continue };
            section = name;
            rest = after.trim();
        }
        if rest.is_empty() || rest.starts_with(['#', ';']) {
            continue;
        }
        let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
        all.push((format!("{section}.{}", key.trim().to_lowercase()), plain(value)));
    }
    all
}

/// A section's name without its brackets, and what follows on its line.
fn header(head: &str) -> Option<(String, &str)> {
    let (mut name, mut quoted, mut escaped) = (String::new(), false, false);
    for (at, c) in head.char_indices() {
        match c {
            _ if escaped => {
                name.push(c);
                escaped = false;
            }
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ']' if !quoted => return Some((name.to_lowercase(), head.get(at + 1..)?)),
            ' ' | '\t' if !quoted => name.push('.'),
            _ => name.push(c),
        }
    }
    None
}

/// A value without quotes, escapes and a comment behind it.
fn plain(value: &str) -> String {
    let (mut plain, mut quoted, mut escaped) = (String::new(), false, false);
    for c in value.trim().chars() {
        match c {
            _ if escaped => {
                plain.push(match c {
                    'n' => '\n',
                    't' => '\t',
                    _ => c,
                });
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            '#' | ';' if !quoted => break,
            _ => plain.push(c),
        }
    }
    plain.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_name_files_in_every_way_they_can() {
        let path = |text: &str| Named::Path(text.into());
        let word = |text: &str| Named::Word(text.into());
        for (text, named) in [
            ("[core]\n\thooksPath = githooks # ours\n", path("githooks")),
            ("[CORE] HOOKSPATH=\"git hooks\"\n", path("git hooks")),
            ("[core]\nhooksPath = git\\\nhooks\n", path("githooks")),
            ("[include]\n\tpath = ../team.gitconfig\n", Named::Settings("../team.gitconfig".into())),
            ("[includeIf \"gitdir:~/x/\"]\n path = a/b\n", Named::Settings("a/b".into())),
            ("[alias]\n\tx = !sh tool\n", word("tool")),
            ("[alias]\n\tx = \"!f() { ./tools/y \\\"$1\\\"; }; f\"\n", word("./tools/y")),
            ("[filter \"a.b]\"]\n\tclean = tools/clean %f\n", word("tools/clean")),
            ("[merge \"x\"]\n\tdriver = python3 merge.py %A\n", word("merge.py")),
            ("[future]\n\tsetting = scripts/z\n", word("scripts/z")),
            ("[core]\n\tworktree = ../../../lib\n", Named::WorkTree("../../../lib".into())),
        ] {
            assert!(
                named_in_git_settings(text).contains(&named),
                "{text}: {:?}",
                named_in_git_settings(text)
            );
        }
    }

    #[test]
    fn ordinary_settings_name_nothing_of_a_work_tree() {
        let text = "[core]\n\tbare = false\n[branch \"main\"]\n\tremote = origin\n\tmerge = refs/heads/main\n[user]\n\tname = docs src\n";
        assert_eq!(named_in_git_settings(text), [Named::Word("refs/heads/main".into())]);
        assert!(named_in_git_settings("[alias]\n\tst = status\n\tlg = log --graph\n").is_empty());
    }

    #[test]
    fn a_list_of_hooks_names_what_it_runs() {
        let text = "repos:\n- repo: local\n  hooks:\n  - id: a\n    entry: tools/check.sh --fast\n    files: src/x.py\n";
        let named = named_in_hook_list(".pre-commit-config.yaml", text);
        assert!(
            named.contains(&Named::Word("tools/check.sh".into()))
                && !named.contains(&Named::Word("src/x.py".into()))
        );
        assert!(named_in_hook_list("other.yaml", text).is_empty());
        for text in [
            "repos:\n- repo: local\n  hooks:\n  - {id: x, entry: ./tools/lint.py, language: script}\n",
            "    entry: >-\n      sh ./tools/lint.py\n    language: system\n",
            "    run: |\n      set -e\n      ./tools/lint.py\n",
            "    entry: bash\n    args:\n      - ./tools/lint.py\n",
            "    args: [\"./tools/lint.py\", x]\n",
        ] {
            let named = named_in_hook_list(".pre-commit-config.yaml", text);
            assert!(named.contains(&Named::Word("./tools/lint.py".into())), "{text}: {named:?}");
        }
    }
}
