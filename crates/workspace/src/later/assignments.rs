//! Files of lines `NAME=value`, which programs read and shells run.
//!
//! Source: POSIX.1-2024, Shell Command Language, 2.2 (quoting) and 2.9.1 (a line of assignments alone runs nothing).

/// Whether a shell that takes the text in only gives values to names: each line is a comment or an assignment of one word.
#[must_use]
pub(super) fn are_assignments(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        match after_one(rest.trim_start_matches([' ', '\t'])) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    true
}

/// What follows the line that this begins with, if that runs nothing.
fn after_one(line: &str) -> Option<&str> {
    let line = line.strip_prefix('\r').unwrap_or(line);
    if let Some(after) = line.strip_prefix('\n') {
        return Some(after);
    }
    if line.is_empty() || line.starts_with('#') {
        return Some(line.split_once('\n').map_or("", |(_, after)| after));
    }
    let line = line.strip_prefix("export ").unwrap_or(line).trim_start_matches(' ');
    let (name, value) = line.split_once('=')?;
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    if !is_name {
        return None;
    }
    let after = match value.chars().next() {
        Some(quote @ ('"' | '\'')) => value.get(1..)?.split_once(quote)?.1,
        _ => value.get(word(value)?..)?,
    };
    // Behind the word there is a comment at most.
    let (end, next) = after.split_once('\n').unwrap_or((after, ""));
    let end = end.trim_end_matches('\r');
    (end.trim().is_empty() || end.starts_with([' ', '\t']) && end.trim_start().starts_with('#'))
        .then_some(next)
}

/// How long the word without quotes is that this begins with. Of a query `&name=` is another assignment to a shell.
fn word(value: &str) -> Option<usize> {
    let end = value.find([' ', '\t', '\r', '\n']).unwrap_or(value.len());
    let word = value.get(..end)?;
    let is_query = |part: &str| {
        part.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-%".contains(c))
        })
    };
    let runs = word.contains([';', '|', '<', '>', '"', '\'']) || !word.split('&').skip(1).all(is_query);
    (!runs).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::are_assignments;

    #[test]
    fn lines_that_give_a_value_to_a_name_run_nothing() {
        for text in [
            "",
            "A=1",
            "A=\nB=2\r\n",
            "# a comment; touch x\n\nexport A=b\n",
            "APP_NAME=\"My App; and more\" # what it is called\n",
            "KEY='-----BEGIN\nline of a key\n-----END'\nB=1\n",
            "DATABASE_URL=postgres://a@localhost/b?c=d&e=f\n",
            "SECRET_KEY=x7#kq2!vd9w4m@zt6^pb1*rj3(fc5)ly0\n",
            "a.b-c=1\n",
        ] {
            assert!(are_assignments(text), "{text}");
        }
        for text in [
            "touch x",
            "A=1\n. ./x.sh\n",
            "source x",
            "A=b touch x",
            "A=b;touch x",
            "A=b;./x",
            "A=b|./x",
            "A=b&./x",
            "A=b&x",
            "A=<(touch x)",
            "A=b>x",
            "A='b' touch x",
            "A='b'c;d",
            "A='b'\"c\" d",
            "A=\"b",
            "A[$x]=1",
            "if true",
            "A=1 #c\nB",
            "=x",
            "\u{a0}touch x",
        ] {
            assert!(!are_assignments(text), "{text}");
        }
    }
}
