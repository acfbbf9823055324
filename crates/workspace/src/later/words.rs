//! Words of a text that may be files: what a script calls, and what instructions for agents take in.

/// Words that a pattern with braces is taken for.
const MOST_FORMS: usize = 64;

/// The words of a script, without its comments. A word that begins with what only a shell knows is there without it, too.
#[must_use]
pub fn named_in_script(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
        for word in line.split(is_between).filter(|word| !word.is_empty()) {
            let rest = word.strip_prefix('$').or_else(|| word.strip_prefix('/').map(|_| word));
            let rest = rest.and_then(|rest| rest.split_once('/')).map(|(_, rest)| rest);
            words.extend(rest.filter(|rest| !rest.is_empty()).map(|rest| format!("./{rest}")));
            words.push(word.to_owned());
        }
    }
    words
}

/// What instructions take in with `@path`.
#[must_use]
pub fn imports(text: &str) -> Vec<String> {
    let words = text.split(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '"' | '\'' | ',' | '`'));
    let paths = words.filter_map(|word| word.strip_prefix('@'));
    let paths = paths.map(|path| path.trim_end_matches(['.', ';', ':', '!', '?', ']', '*']));
    paths.filter(|path| path.contains(['/', '.'])).map(str::to_owned).collect()
}

/// What may be a path in a line: as a shell reads it, what is in quotes, and what is between signs.
pub(super) fn tokens(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for word in shell_words(line).into_iter().chain(quoted(line)) {
        for form in braces(&word) {
            found.extend(form.split(['=', ':', ',']).map(str::to_owned));
            found.push(form);
        }
    }
    found.extend(line.split(is_between).map(str::to_owned));
    found.retain(|word| word.contains(|c: char| c.is_alphanumeric()));
    found.sort();
    found.dedup();
    found
}

/// The paths that one of them may mean, and whether it is only the rest of it: what begins with something that the program alone
/// knows.
pub(super) fn forms(token: &str) -> Vec<(String, bool)> {
    let mut word = token.trim().trim_start_matches(['@', '+', '!', '>']);
    if word.starts_with('-') {
        word = word.find(['/', '~']).and_then(|at| word.get(at..)).unwrap_or_default();
    }
    let mut found = Vec::new();
    for word in [Some(word.to_owned()), percent_decoded(word)].into_iter().flatten() {
        let begins = word.starts_with(['/', '$', '%', '{', '<', '@']) || word.starts_with("~+");
        let rest = word.split_once('/').filter(|_| begins).map(|(_, rest)| rest.trim_start_matches('/'));
        found.extend(rest.filter(|rest| !rest.is_empty()).map(|rest| (format!("./{rest}"), true)));
        if !word.is_empty() {
            found.push((word, false));
        }
    }
    found
}

/// Without quotes and backslashes.
fn shell_words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => word.extend(rest.next()),
            (_, Some(open)) if c == open => quote = None,
            (_, Some(_)) => word.push(c),
            ('"' | '\'', None) => quote = Some(c),
            (_, None) if c.is_whitespace() || ";|&()<>`".contains(c) => words.push(std::mem::take(&mut word)),
            _ => word.push(c),
        }
    }
    words.push(word);
    words
}

/// What is between two of the same quotes.
fn quoted(line: &str) -> Vec<String> {
    let between = |quote: char| line.split(quote).skip(1).step_by(2).map(|text| text.replace('\\', ""));
    ['"', '\''].into_iter().flat_map(between).collect()
}

/// Each of the words that `a{b,c}` stands for.
fn braces(word: &str) -> Vec<String> {
    let (mut todo, mut found) = (vec![word.to_owned()], Vec::new());
    while let Some(word) = todo.pop() {
        let parts =
            word.match_indices('{').filter(|(at, _)| !word.get(..*at).is_some_and(|b| b.ends_with('$')));
        let parts = parts.filter_map(|(at, _)| {
            let (inside, after) = word.get(at + 1..)?.split_once('}')?;
            (inside.contains(',') && !inside.contains('{')).then_some((word.get(..at)?, inside, after))
        });
        match parts.take(1).next().filter(|_| todo.len() + found.len() < MOST_FORMS) {
            Some((before, inside, after)) => {
                todo.extend(inside.split(',').map(|one| format!("{before}{one}{after}")));
            }
            None => found.push(word),
        }
    }
    found
}

fn percent_decoded(word: &str) -> Option<String> {
    let decoded = percent_encoding::percent_decode_str(word).decode_utf8().ok()?;
    (decoded != word).then(|| decoded.into_owned())
}

fn is_between(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '"' | '\''
                | ';'
                | '|'
                | '&'
                | '('
                | ')'
                | '='
                | '!'
                | '<'
                | '>'
                | '`'
                | ','
                | ':'
                | '{'
                | '}'
                | '['
                | ']'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_names_what_it_calls() {
        let text = "#!/bin/sh\n# see docs/x.md\nexec ./scripts/a.sh\n. \"$ROOT/b.sh\"\n\"$(git rev-parse --show-toplevel)/c/d\" $HOME/e/f sh run.sh\n";
        let words = named_in_script(text);
        for word in ["./scripts/a.sh", "./b.sh", "./c/d", "$HOME/e/f", "run.sh"] {
            assert!(words.iter().any(|known| known == word), "{word}: {words:?}");
        }
        assert!(!words.iter().any(|word| word.contains("docs")));
    }

    #[test]
    fn instructions_take_in_files_and_greet_people() {
        assert_eq!(
            imports("See @docs/rules.txt, @~/x.md. Ask @maria or a@b.example"),
            ["docs/rules.txt", "~/x.md"]
        );
    }
}
