//! Files that name what is run or taken in with them: start-up files and settings of a home, and files of a directory that a tool
//! obeys when somebody opens it. What they name is then what they are.

use super::pack::{Leads, PACK, ReadsAs};
use super::place::like;
use super::structured::{Keys, values};
use super::words::{around_choice, forms, modules, tokens};

/// Words of one file that are looked at.
const MOST_WORDS: usize = 20_000;

/// What of a directory is run, or loaded, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Search {
    Programs,
    Modules,
    All,
}

/// What may be a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    pub text: String,
    pub search: Option<Search>,
    /// A file of the same kind, if it is one.
    pub is_taken_in: bool,
    /// What stood before it is known only to the program.
    pub is_rest: bool,
    /// Something in the middle of it is known only to the program: this is what stands before, or behind.
    pub is_choice: bool,
}

/// The kinds that a home has, with their paths.
pub fn of_home() -> impl Iterator<Item = (&'static str, &'static Leads)> {
    PACK.leads.iter().flat_map(|leads| leads.home.iter().map(move |path| (path.as_str(), leads)))
}

/// The kind that a file of a directory is of.
#[must_use]
pub fn of_directory(path: &str) -> Option<&'static Leads> {
    let lower = path.to_lowercase();
    let names: Vec<&str> = lower.split('/').collect();
    PACK.leads.iter().find(|leads| leads.places.iter().any(|place| place.has(&names, false)))
}

/// The kind of shells, for start-up files that are none of the others.
#[must_use]
pub fn of_shells() -> Option<&'static Leads> {
    PACK.leads.first()
}

/// The kind of what git runs at its own steps.
#[must_use]
pub fn of_hooks() -> Option<&'static Leads> {
    PACK.leads.iter().find(|leads| leads.class == super::HOOKS)
}

/// Whether something that loads all of a directory loads a file of this name.
#[must_use]
pub fn may_be_loaded(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default().to_lowercase();
    let ending = name.rsplit_once('.').map(|(_, ending)| ending);
    ending.is_none_or(|ending| PACK.settings.endings.iter().any(|known| known == ending))
}

/// Whether a file of the home may be settings, by its name.
#[must_use]
pub fn may_be_settings(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default().to_lowercase();
    may_be_loaded(path) || PACK.settings.names.iter().any(|pattern| like(pattern, &name))
}

impl Leads {
    #[must_use]
    pub fn class(&'static self) -> &'static str {
        &self.class
    }

    /// The words of such a file that may be paths.
    #[must_use]
    pub fn words(&self, path: &str, text: &str) -> Vec<Word> {
        if self.needs.as_ref().is_some_and(|word| !text.to_lowercase().contains(word.as_str())) {
            return Vec::new();
        }
        let keys = Keys { count: &self.keys, but: &self.other_keys };
        let lines = values(path, text, &keys).unwrap_or_else(|| self.speaking(joined(text)));
        let meant = lines.iter().filter(|line| !self.is_comment(line)).flat_map(|line| self.stands_for(line));
        let lines: Vec<String> = meant.collect::<Vec<_>>().into_iter().chain(lines).collect();
        let (mut found, mut open): (Vec<Word>, Option<Search>) = (Vec::new(), None);
        for line in lines.iter().filter(|line| !self.is_comment(line)) {
            if self.passes_over.iter().any(|word| has_word(line, word)) {
                continue;
            }
            // A list of directories may go on in the lines below.
            let search = open.or_else(|| self.search(line));
            open = search.filter(|_| if open.is_some() { !line.contains(')') } else { is_open(line) });
            let is_taken_in = self.takes_in.iter().any(|word| has_word(line, word));
            let tokens = tokens(line);
            let modules = modules(line, &tokens).into_iter().map(|path| (path, false));
            let named = tokens.iter().flat_map(|token| forms(token)).chain(modules);
            let named = named.map(|(text, is_rest)| (text, is_rest, false));
            let chosen = tokens.iter().filter_map(|token| around_choice(token));
            let chosen = chosen.flat_map(|(up, rest)| [(up, false, true), (rest, true, true)]);
            for (text, is_rest, is_choice) in named.chain(chosen) {
                let word = Word { text, search, is_taken_in, is_rest, is_choice };
                if found.len() >= MOST_WORDS {
                    return found;
                }
                found.push(word);
            }
        }
        let mut seen = std::collections::HashSet::new();
        found.retain(|word| {
            seen.insert((word.text.clone(), word.search.is_some(), word.is_taken_in, word.is_choice))
        });
        found
    }

    /// Whether such a file may be any tool's, and so be no settings at all.
    #[must_use]
    pub fn is_of_any_tool(&self) -> bool {
        self.any_tool
    }

    /// Lines with one of the words, and what is indented below them.
    fn speaking(&self, lines: Vec<String>) -> Vec<String> {
        if self.lines.is_empty() {
            return lines;
        }
        let mut open: Option<usize> = None;
        let speaks_or_goes_on = |line: &String| {
            let depth = line.len() - line.trim_start().len();
            let goes_on = open.is_some_and(|at| {
                depth > at
                    || line.trim().is_empty()
                    || depth == at && line.trim_start().starts_with(['-', ']', ')'])
            });
            if goes_on {
                return true;
            }
            let speaks = says_one_of(line, &self.lines);
            let opens = speaks && line.trim_end().ends_with([':', '|', '>', '[', '(', '{', '=']);
            open = opens.then_some(depth);
            speaks
        };
        lines.into_iter().filter(speaks_or_goes_on).collect()
    }

    /// Lines in plain words for one in words of a tool's own.
    fn stands_for(&self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let follows = |known: &str| {
            let known: Vec<&str> = known.split(' ').collect();
            let at = words.windows(known.len()).position(|here| here == known)?;
            words.get(at + known.len()..)
        };
        let mut found = Vec::new();
        for ReadsAs { words, line } in &self.reads_as {
            let Some(rest) = follows(words) else { continue };
            match line.contains("{}") {
                true => found.extend(rest.iter().map(|word| line.replace("{}", word))),
                false => found.push(line.clone()),
            }
        }
        found
    }

    fn is_comment(&self, line: &str) -> bool {
        let line = line.trim_start();
        !line.starts_with("#!") && self.comments.iter().any(|start| line.starts_with(start.as_str()))
    }

    fn search(&self, line: &str) -> Option<Search> {
        let has = |words: &[String]| words.iter().any(|word| has_word(line, word));
        // Names of the last are parts of names of the others.
        if has(&PACK.searched.all) || has(&self.loads_all) {
            Some(Search::All)
        } else if has(&PACK.searched.modules) {
            Some(Search::Modules)
        } else {
            has(&PACK.searched.programs).then_some(Search::Programs)
        }
    }
}

fn is_open(line: &str) -> bool {
    line.matches('(').count() > line.matches(')').count()
}

/// Lines, with what goes on after a backslash.
fn joined(text: &str) -> Vec<String> {
    text.replace("\\\n", " ").lines().map(str::to_owned).collect()
}

/// Whether a line has a word like one of these that is no part of a path.
fn says_one_of(line: &str, patterns: &[String]) -> bool {
    let lower = line.to_lowercase();
    let ends = |c: char| c.is_whitespace() || "\"'=:,;()[]{}<>".contains(c);
    let mut words = lower.split(ends).filter(|word| !word.is_empty() && !word.contains('/'));
    words.any(|word| patterns.iter().any(|pattern| like(pattern, word)))
}

/// Whether a line has this word, in any case; a point stands for itself between blanks alone.
fn has_word(line: &str, word: &str) -> bool {
    if word == "." {
        return line.split(|c: char| c.is_whitespace() || ";&|({".contains(c)).any(|part| part == ".");
    }
    let line = line.to_lowercase();
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + word.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(path: &str, text: &str) -> Vec<String> {
        let leads = of_directory(path).or_else(of_shells).unwrap();
        leads.words(path, text).into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn paths_are_found_in_every_spelling() {
        for (text, path) in [
            (". ~/a/b", "~/a/b"),
            ("source \"$HOME/my work/b.sh\"", "$HOME/my work/b.sh"),
            ("source ~/my\\ work/b.sh", "~/my work/b.sh"),
            ("ExecStart=-/a/b --c", "/a/b"),
            ("url = file:///a/my%20b", "///a/my b"),
            ("dofile('/a/b.lua')", "/a/b.lua"),
            ("(load \"/a/b.el\")", "/a/b.el"),
            ("-I/a/b", "/a/b"),
            ("for x in ~/a/{b,c}.sh; do", "~/a/c.sh"),
            (". ${X:-y}/a/b", "./a/b"),
            ("exec %h/a/b", "./a/b"),
            ("os.getenv('HOME') .. '/a/b'", "./a/b"),
            ("#!/a/b/python", "/a/b/python"),
        ] {
            assert!(words("x", text).iter().any(|word| word == path), "{text}: {:?}", words("x", text));
        }
        assert!(words("x", "# see a/b").is_empty());
    }

    #[test]
    fn of_settings_only_what_runs_counts() {
        let package =
            r#"{"main": "a/x.js", "scripts": {"test": "node a/y.js", "postinstall": "node a/z.js"}}"#;
        let found = words("package.json", package);
        assert!(found.iter().any(|word| word == "a/z.js"), "{found:?}");
        assert!(!found.iter().any(|word| word.starts_with("a/x") || word.starts_with("a/y")), "{found:?}");
        let tasks = r#"{ // mine
            "tasks": [{"command": "sh a/b", "runOptions": {"runOn": "folderOpen"},}] }"#;
        assert!(words(".vscode/tasks.json", tasks).iter().any(|word| word == "a/b"));
        assert!(words(".vscode/tasks.json", &tasks.replace("folderOpen", "default")).is_empty());
        let mise = "[env]\n_.source = 'a/b'\n[tasks]\nx = 'a/c'\n";
        let found = words("mise.toml", mise);
        assert!(found.iter().any(|word| word == "a/b") && !found.iter().any(|word| word == "a/c"));
        assert!(words(".envrc", "watch_file a/b\n").is_empty());
        assert!(words(".mcp.json", "{broken \"command\": \"a/b\"").iter().any(|word| word == "a/b"));
    }

    #[test]
    fn a_directory_that_is_searched_is_told_from_one_that_is_named() {
        let of = |text: &str| {
            let words = of_shells().unwrap().words("x", text);
            words.into_iter().find(|word| word.text == "~/a/b").and_then(|word| word.search)
        };
        assert_eq!(of("export PATH=\"$PATH:~/a/b\""), Some(Search::Programs));
        assert_eq!(of("PYTHONPATH=~/a/b"), Some(Search::Modules));
        assert_eq!(of("fpath=(\n  ~/a/b\n)"), Some(Search::All));
        assert_eq!(of("alias p='cd ~/a/b'"), None);
        assert_eq!(of("cd ~/a/b # PATHS"), None);
    }
}
