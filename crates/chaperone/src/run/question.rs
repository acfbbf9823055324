//! A request as the user sees it: no text of the agent's can forge a line of it, nor push one off the screen.

use chaperone_protocol::counted;
use serde_json::Value;

use super::prompt::needs_pin;
use crate::show::{list, text};
use crate::untrusted::Untrusted;

/// Rows that stay free below the question: for the words that may be typed, and what is typed.
const ANSWER: usize = 2;
/// Cells of what is asked that are said again right above the answer, where there is little room.
const AGAIN: usize = 40;

/// How much of a request is shown.
#[derive(Debug, Clone, Copy)]
struct Detail {
    /// Cells of what the answer is about: the resource and its name, the reasons and the rule.
    about: usize,
    /// Cells of a place, or of why something cannot be looked into.
    place: usize,
    /// Findings, and other lists that the answer is about.
    items: usize,
    /// Cells of each of the rest: sources, programs, earlier actions, what the agent says. Nothing: it is left out.
    rest: usize,
    /// Cells of a message that would be sent.
    message: usize,
}

const WHOLE: Detail =
    Detail { about: usize::MAX, place: usize::MAX, items: usize::MAX, rest: usize::MAX, message: usize::MAX };
/// From much to little. The last fits on a terminal of 80 by 24, whatever the agent chose.
const DETAILS: [Detail; 7] = [
    WHOLE,
    Detail { about: 400, place: 200, items: 8, rest: 400, message: usize::MAX },
    Detail { about: 400, place: 100, items: 5, rest: 140, message: usize::MAX },
    Detail { about: 140, place: 60, items: 3, rest: 140, message: usize::MAX },
    Detail { about: 140, place: 60, items: 3, rest: 60, message: usize::MAX },
    Detail { about: 96, place: 20, items: 3, rest: 60, message: usize::MAX },
    Detail { about: 96, place: 20, items: 3, rest: 0, message: usize::MAX },
];
/// Least cells of a message, for which other details give way.
const LEAST_MESSAGE: usize = 200;
/// Letters of a name that tell it, however little room there is.
const LEAST_OF_A_NAME: usize = 24;

/// The ask in a few lines.
#[must_use]
pub fn describe(ask: &Value) -> String {
    lines(ask, WHOLE).join("\n")
}

/// The whole question, as it stands on a screen of so many rows and columns of its own. What is asked is said again below
/// the details.
#[must_use]
pub fn screen(ask: &Value, (rows, columns): (u16, u16)) -> String {
    let (rows, columns) = (usize::from(rows), usize::from(columns));
    let room = rows.saturating_sub(ANSWER);
    let has_message = ask["text"].is_string();
    let last = DETAILS.len() - 1;
    for (at, detail) in DETAILS.into_iter().enumerate() {
        let question = with_detail(ask, detail);
        if rows_of(&question, columns) <= room {
            return question;
        }
        if has_message {
            // It gets what room the others leave.
            let others = rows_of(&with_detail(ask, Detail { message: 0, ..detail }), columns);
            let message = room.saturating_sub(others) * columns.saturating_sub(1);
            if message >= LEAST_MESSAGE || at == last {
                let room_for_words = message.saturating_sub(2 * columns.saturating_sub(1) / 2).max(AGAIN);
                return with_detail(ask, Detail { message: room_for_words, ..detail });
            }
        }
    }
    with_detail(ask, DETAILS[last])
}

fn with_detail(ask: &Value, detail: Detail) -> String {
    let pin = if needs_pin(ask) {
        format!(
            "\n\n  This needs your PIN, elsewhere: chaperone approve {} --pin-stdin",
            short(&text(ask, "id"), 8)
        )
    } else {
        String::new()
    };
    let again = if detail.about == usize::MAX { usize::MAX } else { AGAIN };
    let asked = format!("{} {}", short(&text(ask, "action"), 16), short(&text(ask, "resource"), again));
    format!("\n{}{pin}\n\n  Allow it to {asked}?", lines(ask, detail).join("\n"))
}

/// What the answer is about comes first and is cut last; then what the agent says and did.
fn lines(ask: &Value, detail: Detail) -> Vec<String> {
    let Detail { about, place, items, rest, message } = detail;
    // The wish of an elevation says itself what is to be done.
    let action = match text(ask, "action").raw() {
        "elevate" => Untrusted::new("be allowed to"),
        _ => text(ask, "action"),
    };
    let mut lines = vec![format!(
        "{} asks to {} {}   [{} risk, request {}]",
        short(&text(ask, "agent"), about / 4),
        short(&action, about / 6),
        short(&text(ask, "resource"), about),
        short(&text(ask, "risk"), about / 6),
        short(&text(ask, "id"), about / 6)
    )];
    if let Some(was) = ask["was"].as_str() {
        let was = short(&Untrusted::new(was), about);
        lines.push(format!("  was       {was}   (its name in your directory)"));
    }
    let reasons = some(list(ask, "reasons").map(|r| r.to_string()), about, ", ");
    if !reasons.is_empty() {
        lines.push(format!("  why       {reasons} ({})", short(&text(ask, "rule"), about / 3)));
    }
    let found: Vec<String> =
        ask["findings"].as_array().into_iter().flatten().map(|f| found(f, place)).collect();
    push_some(&mut lines, "found", found, items);
    let unread = list(ask, "unread").map(|why| format!("it cannot be looked into: {}", short(&why, place)));
    push_some(&mut lines, "unread", unread.collect(), items.div_ceil(3));
    if ask["covers_kind"].as_bool() == Some(true) {
        lines.push("  session   an answer for the session covers reading every file of this kind".to_owned());
    }
    if let Some(sent) = ask["text"].as_str().filter(|_| message > 0) {
        lines.push(format!("  sends     \"{}\"   (untrusted)", short(&Untrusted::new(sent), message)));
    }
    let before = lines.len();
    if ask["leaves"].is_object() {
        lines.push(format!("  leaves    {}", leaves(&ask["leaves"], place)));
    }
    let whole = if rest == 0 { usize::MAX } else { rest };
    let name = whole.max(LEAST_OF_A_NAME);
    let sources = list(ask, "sources").map(|source| format!("a passage of {}", short(&source, name)));
    push_some(&mut lines, "contains", sources.collect(), items);
    let program = some(list(ask, "program").map(|a| a.to_string()), whole, " ");
    if !program.is_empty() {
        lines.push(format!("  program   {program}   (reported by the agent)"));
    }
    push_some(&mut lines, "run by", list(ask, "parents").map(|p| short(&p, whole)).collect(), items);
    let recent = some(list(ask, "recent").map(|r| r.to_string()), whole, ", ");
    if !recent.is_empty() {
        lines.push(format!("  before    {recent}"));
    }
    if let Some(said) = ask["justification"].as_str() {
        lines.push(format!("  stated    \"{}\"   (untrusted)", short(&Untrusted::new(said), whole)));
    }
    if rest == 0 && lines.len() > before {
        let more = lines.len() - before;
        lines.truncate(before);
        lines.push(format!(
            "  …         {}; in another terminal: chaperone approvals",
            counted(more, "more line")
        ));
    }
    lines
}

/// How much leaves, and what the address says beside its path.
fn leaves(leaves: &Value, place: usize) -> String {
    let number = |name: &str| leaves[name].as_u64().unwrap_or(0);
    let passages = match number("passages") {
        0 => String::new(),
        n => format!(", {} of what it read", counted(n, "passage")),
    };
    let query = match leaves["query"].as_str() {
        Some(query) => format!(", the query {}   (untrusted)", short(&Untrusted::new(query), place)),
        None => String::new(),
    };
    format!(
        "{} of body, {} of address and headers{passages}{query}",
        counted(number("body"), "byte"),
        number("head")
    )
}

fn found(finding: &Value, place: usize) -> String {
    format!(
        "{} × {} ({}) in {}",
        finding["count"].as_u64().unwrap_or(1),
        short(&text(finding, "detector"), place),
        short(&text(finding, "severity"), place / 3),
        short(&text(finding, "where"), place)
    )
}

/// The first of some, each on a line of its own, and how many more there are.
fn push_some(lines: &mut Vec<String>, label: &str, items: Vec<String>, most: usize) {
    let more = items.len().saturating_sub(most);
    lines.extend(items.into_iter().take(most).map(|item| format!("  {label:<9} {item}")));
    if more > 0 {
        lines.push(format!("  {label:<9} and {more} more"));
    }
}

/// The last of some on one line, and how many more there are.
fn some(items: impl Iterator<Item = String>, most: usize, between: &str) -> String {
    let items: Vec<String> = items.collect();
    let (mut shown, mut used) = (Vec::new(), 0usize);
    for item in items.iter().rev() {
        let item = cut(item, most / 2);
        used = used.saturating_add(cells(&item) + between.len());
        if used > most && !shown.is_empty() {
            break;
        }
        shown.push(item);
    }
    let more = items.len() - shown.len();
    shown.reverse();
    let shown = shown.join(between);
    if more > 0 { format!("{more} more … {shown}") } else { shown }
}

fn short(text: &Untrusted<'_>, most: usize) -> String {
    cut(&text.to_string(), most)
}

/// A text of at most so many cells and a few: its beginning and its end, and how much is left out between.
fn cut(text: &str, most: usize) -> String {
    if most == usize::MAX || cells(text) <= most {
        return text.to_owned();
    }
    let take = |chars: &mut dyn Iterator<Item = char>, most: usize| {
        let mut used = 0;
        let taken = chars.take_while(|c| {
            used += width(*c);
            used <= most
        });
        taken.collect::<String>()
    };
    let head = take(&mut text.chars(), most - most / 3);
    let tail: String = take(&mut text.chars().rev(), most / 3).chars().rev().collect();
    let left_out = text.chars().count() - head.chars().count() - tail.chars().count();
    format!("{head}…[{left_out} more]…{tail}")
}

/// Rows of a screen that a text takes at most.
fn rows_of(text: &str, columns: usize) -> usize {
    // A wide character does not stand in the last column.
    let columns = columns.saturating_sub(1).max(1);
    text.split('\n').map(|line| cells(line).div_ceil(columns).max(1)).sum()
}

fn cells(text: &str) -> usize {
    text.chars().map(width).sum()
}

/// As wide as a terminal may draw it.
fn width(c: char) -> usize {
    if c.is_ascii() { 1 } else { 2 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::untrusted::{HOSTILE, assert_plain};
    use serde_json::json;

    const SIZE: (u16, u16) = (24, 80);

    fn ask() -> Value {
        json!({ "action": "read", "resource": "/workspace/x", "redactable": true, "effect": "ask", "id": "6cb1d2e3" })
    }

    #[test]
    fn a_hostile_name_forges_no_line_of_an_ask() {
        for name in HOSTILE {
            let ask = json!({ "agent": name, "action": name, "resource": name, "risk": name, "id": name,
                "reasons": [name], "rule": name, "findings": [{ "detector": name, "severity": name, "where": name }],
                "sources": [name], "unread": [name], "leaves": { "body": 1, "head": 2, "passages": 3, "query": name }, "text": name, "program": [name], "parents": [name], "recent": [name],
                "justification": name });
            assert_plain(&describe(&ask), 11);
            assert_plain(&screen(&ask, (200, 200)), 14);
            let drawn = screen(&ask, SIZE);
            assert_plain(&drawn, drawn.split('\n').count());
        }
    }

    #[test]
    fn a_question_says_how_much_leaves() {
        let mut ask = ask();
        ask["leaves"] = json!({ "body": 1200, "head": 340, "passages": 3, "query": "page=2" });
        let drawn = describe(&ask);
        assert!(
            drawn.contains(
                "leaves    1200 bytes of body, 340 of address and headers, 3 passages of what it read"
            ),
            "{drawn}"
        );
        assert!(drawn.contains("the query page=2   (untrusted)"), "{drawn}");
        ask["leaves"] = json!({ "body": 0, "head": 340, "passages": 0 });
        assert!(
            describe(&ask).contains("leaves    0 bytes of body, 340 of address and headers\n")
                || describe(&ask).ends_with("340 of address and headers")
        );
    }

    #[test]
    fn what_is_asked_stands_right_above_the_answer() {
        let mut ask = ask();
        ask["text"] = json!("x".repeat(2000));
        for size in [SIZE, (60, 100)] {
            assert!(screen(&ask, size).lines().last().unwrap().contains("read /workspace/x?"));
        }
        assert!(screen(&ask, (60, 100)).contains(&"x".repeat(2000)), "there is room for all of it");
        assert!(screen(&ask, SIZE).contains(&"x".repeat(500)), "and here for much of it");
    }

    #[test]
    fn what_needs_a_pin_says_where_it_is_given() {
        let mut ask = ask();
        ask["effect"] = json!("step_up");
        assert!(screen(&ask, SIZE).contains("--pin-stdin"));
    }

    /// The rows of a terminal after a text was written to it: what scrolled away is gone.
    fn on_screen(text: &str, (rows, columns): (u16, u16)) -> Vec<String> {
        let (mut drawn, mut used) = (vec![String::new()], 0);
        for c in text.chars() {
            if c == '\n' || used + width(c) > usize::from(columns) {
                drawn.push(String::new());
                used = 0;
            }
            if c != '\n' {
                drawn.last_mut().unwrap().push(c);
                used += width(c);
            }
        }
        drawn.split_off(drawn.len().saturating_sub(usize::from(rows)))
    }

    /// Everything that an agent may choose, as long as the broker lets it be: `SHOWN` characters, each of which may be escaped.
    fn long(name: &str, many: usize) -> Value {
        let name: String = name.chars().cycle().take(300).collect();
        let findings: Vec<Value> = (0..many)
            .map(|n| json!({ "detector": "payment_card", "severity": "high", "where": format!("{n}{name}"), "count": 3 }))
            .collect();
        let names = vec![name.clone(); many];
        json!({ "agent": name, "action": "read", "resource": name, "risk": "high", "id": "6cb1d2e3", "effect": "ask",
            "was": format!("/workspace/cards.csv{name}"), "reasons": ["personal_data", "secret"], "rule": "files",
            "findings": findings, "sources": names, "unread": names, "leaves": { "body": u64::MAX, "head": u64::MAX, "passages": 99, "query": name }, "covers_kind": true, "text": name.repeat(7),
            "program": names, "parents": names, "recent": names, "justification": name, "redactable": true })
    }

    #[test]
    fn nothing_that_an_agent_chose_pushes_a_line_off_the_screen() {
        let answer = "\n  type redacted 6cb1, yes 6cb1, session 6cb1; anything else is a no: redacted 6cb1";
        for name in ["x", " ", "漢"] {
            for many in [2, 8] {
                for without in [&[][..], &["text", "sources"]] {
                    for effect in ["ask", "step_up"] {
                        let mut ask = long(name, many);
                        ask["effect"] = effect.into();
                        without.iter().for_each(|field| ask[*field] = Value::Null);
                        for size in [SIZE, (30, 132)] {
                            let rows = on_screen(&format!("{}{answer}", screen(&ask, size)), size);
                            let stands = |label: &str| rows.iter().any(|row| row.starts_with(label));
                            let whole = rows.join("\n");
                            assert!(
                                rows.first().is_some_and(String::is_empty),
                                "{name:?} {many} {size:?}: {whole}"
                            );
                            assert!(
                                stands("  was ") && stands("  why "),
                                "{name:?} {many} {size:?}: {whole}"
                            );
                            assert!(many == 0 || stands("  found "), "{name:?} {many} {size:?}: {whole}");
                            assert!(stands("  Allow it to read "), "{name:?} {many} {size:?}: {whole}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let drawn = screen(&long("x", 60), SIZE);
        assert!(
            drawn.contains("and 57 more") && drawn.contains("more lines; in another terminal"),
            "{drawn}"
        );
        let mut many = ask();
        many["recent"] = json!((0..50).map(|n| format!("wrote /workspace/{n}")).collect::<Vec<_>>());
        let drawn = screen(&many, SIZE);
        assert!(drawn.contains("wrote /workspace/49"), "the last ones stay: {drawn}");
    }
}
