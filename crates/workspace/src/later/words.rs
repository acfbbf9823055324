//! Words of a text that may be files: what a line names, and what instructions for agents take in.

/// Words that a pattern with braces is taken for.
const MOST_FORMS: usize = 64;
/// How interpreters that find a file without its ending are called.
const PYTHONS: &[&str] = &["python", "pypy"];
const NODES: &[&str] = &["node", "deno", "bun", "tsx", "ts-node"];
const NODE_ENDINGS: &[&str] =
    &[".js", ".cjs", ".mjs", ".ts", "/index.js", "/index.cjs", "/index.mjs", "/index.ts"];

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
    found.extend(defaults(line));
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

/// What stands before and behind a variable in the middle of a path: `~/work/$x/bin`.
pub(super) fn around_choice(token: &str) -> Option<(String, String)> {
    let token = token.trim();
    let at = token.match_indices("/$").map(|(at, _)| at).find(|at| *at > 0)?;
    let (up, rest) = (token.get(..at)?, token.get(at + 1..)?);
    let rest = rest.split_once('/').map_or("", |(_, rest)| rest);
    let is_path = up.contains('/') || up.starts_with(['~', '$']);
    (is_path && !rest.is_empty() && !rest.contains('$')).then(|| (up.to_owned(), format!("./{rest}")))
}

/// The files that an interpreter means by a name without an ending, as its modules are named.
pub(super) fn modules(line: &str, tokens: &[String]) -> Vec<String> {
    let words = shell_words(line);
    let mut found = Vec::new();
    let called: Vec<&str> = words.iter().filter_map(|word| word.rsplit('/').next()).collect();
    let has = |names: &[&str]| called.iter().any(|word| names.iter().any(|name| word.starts_with(name)));
    let ends = |token: &&String| {
        let name = token.rsplit('/').next().unwrap_or_default();
        let is_interpreter = PYTHONS.contains(&name) || NODES.contains(&name);
        !name.is_empty() && !name.contains('.') && !token.starts_with('-') && !is_interpreter
    };
    if has(PYTHONS) {
        found.extend(tokens.iter().filter(ends).map(|token| format!("{token}/__main__.py")));
        for pair in words.windows(2) {
            let [flag, module] = pair else { continue };
            let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
            if flag.starts_with('-') && flag.ends_with('m') && module.chars().all(is_name) {
                let path = module.replace('.', "/");
                let packages = path.match_indices('/').filter_map(|(at, _)| path.get(..at));
                found.extend(packages.map(|package| format!("./{package}/__init__.py")));
                found.extend(["", "/__init__", "/__main__"].map(|rest| format!("./{path}{rest}.py")));
            }
        }
    }
    if has(NODES) {
        let forms =
            |token: &String| NODE_ENDINGS.iter().map(|end| format!("./{token}{end}")).collect::<Vec<_>>();
        found.extend(
            tokens.iter().filter(ends).filter(|token| !token.starts_with(['/', '~', '$'])).flat_map(forms),
        );
    }
    found
}

/// What stands for a variable that has no value: `${X:-this}`.
fn defaults(line: &str) -> Vec<String> {
    let inside = line.split("${").skip(1).filter_map(|rest| Some(rest.split_once('}')?.0));
    let value = |inside: &str| {
        let at = inside.find(|c: char| !c.is_alphanumeric() && c != '_')?;
        let value = inside.get(at..)?.trim_start_matches(':');
        value.strip_prefix(['-', '=', '+']).map(|value| value.trim_matches(['"', '\'']).to_owned())
    };
    inside.filter_map(value).collect()
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
    fn modules_and_defaults_are_files() {
        let of = |line: &str| modules(line, &tokens(line));
        for (line, path) in [
            ("python3 -m tools.check", "./tools/check.py"),
            ("python3 -Im tools.check", "./tools/__init__.py"),
            ("exec python3 tools", "tools/__main__.py"),
            ("node tools/check", "./tools/check.js"),
            ("node tools/check", "./tools/check/index.js"),
        ] {
            assert!(of(line).iter().any(|word| word == path), "{line}: {:?}", of(line));
        }
        assert!(
            of("sh tools/check").is_empty() && of("python3 a.py").iter().all(|word| !word.contains("a.py"))
        );
        let of = |token: &str| around_choice(token).map(|(up, rest)| format!("{up} {rest}"));
        assert_eq!(of("$HOME/ws/$p/bin").as_deref(), Some("$HOME/ws ./bin"));
        assert_eq!(of("~/ws/${p}/a/b").as_deref(), Some("~/ws ./a/b"));
        assert!(of("$HOME/ws").is_none() && of("~/ws/$p").is_none() && of("a $b").is_none());
        assert!(tokens("sh ${X:-t.sh}").contains(&"t.sh".to_owned()));
        assert!(tokens("sh \"${X-\"a/t\"}\"").contains(&"a/t".to_owned()));
    }

    #[test]
    fn instructions_take_in_files_and_greet_people() {
        assert_eq!(
            imports("See @docs/rules.txt, @~/x.md. Ask @maria or a@b.example"),
            ["docs/rules.txt", "~/x.md"]
        );
    }
}
