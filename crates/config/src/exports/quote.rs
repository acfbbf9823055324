//! A text as a word or string of each format.

/// Characters that show a text in another order than it is in.
pub(super) fn turns_text(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

/// For a comment: no character of it ends one.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || turns_text(c) { '?' } else { c }).collect()
}

/// A word of a shell.
pub(super) fn shell(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A field of a list with commas, as `--mount` takes them.
pub(super) fn field(text: &str) -> String {
    if text.contains([',', '"']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

/// A string in double quotes in which a backslash takes the next character as it is: Seatbelt.
pub(super) fn string(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', r#"\""#))
}

/// A word of a unit's line; `%` begins a specifier there.
pub(super) fn unit(text: &str) -> String {
    string(&text.replace('%', "%%"))
}

/// A word of a unit's command line, in which `$` begins a variable, too, and lines are written as in C.
pub(super) fn unit_command(text: &str) -> String {
    unit(&text.replace('$', "$$")).replace('\n', r"\n").replace('\t', r"\t")
}

/// A path of AppArmor, in which the signs of its patterns stand for themselves.
pub(super) fn apparmor(path: &str) -> String {
    let mut out = String::new();
    for c in path.chars() {
        if "\\\"*?[]{}^@,".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Text or an attribute of XML.
pub(super) fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A comment of XML may hold no two hyphens.
pub(super) fn xml_comment(text: &str) -> String {
    let mut out = text.to_owned();
    while out.contains("--") {
        out = out.replace("--", "- -");
    }
    out
}

/// A text in single quotes of PowerShell, which takes four more characters for one.
pub(super) fn powershell(text: &str) -> String {
    let mut out = String::from("'");
    for c in text.chars() {
        if matches!(c, '\'' | '\u{2018}'..='\u{201b}') {
            out.push(c);
        }
        out.push(c);
    }
    out.push('\'');
    out
}

/// Sentences as comments: each line begins with `mark`.
pub(super) fn comment(mark: &str, notes: &[String]) -> String {
    let mut out = String::new();
    for note in notes {
        out.push_str(mark);
        out.push(' ');
        out.push_str(&one_line(note));
        out.push('\n');
    }
    out
}
