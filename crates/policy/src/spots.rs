//! Where something stands in a policy's text.

use crate::source::{Problem, Source};

/// What is wrong at this byte of a source.
pub(crate) fn problem(source: &Source, at: usize, message: &str, suggestion: &str) -> Problem {
    let before = source.text.get(..at).unwrap_or_default();
    Problem {
        file: source.name.clone(),
        line: before.matches('\n').count() + 1,
        col: before.chars().rev().take_while(|c| *c != '\n').count() + 1,
        message: message.to_owned(),
        suggestion: Some(suggestion.to_owned()),
        warning: false,
    }
}

/// The text with comments and the insides of strings blanked, byte for byte as long as before.
pub(crate) fn without_strings(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut inside: Option<char> = None;
    let mut escaped = false;
    for c in text.chars() {
        let ends = match inside {
            Some('#') => c == '\n',
            Some('"') => !escaped && (c == '"' || c == '\n'),
            Some(quote) => c == quote,
            None => false,
        };
        escaped = inside == Some('"') && c == '\\' && !escaped;
        if inside.is_some() && !ends && c != '\n' {
            code.extend(std::iter::repeat_n(' ', c.len_utf8()));
            continue;
        }
        if ends {
            inside = None;
        } else if inside.is_none() && matches!(c, '"' | '`' | '#') {
            inside = Some(c);
        }
        code.push(c);
    }
    code
}
