//! Words of a text that may be files: what a script calls, and what instructions for agents take in.

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
