//! What a database says of its tables.

use super::record::{MOST_COLUMNS, Value};

/// A table or an index as its definition names it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table {
    pub(super) root: u64,
    /// In the order of its records.
    pub(super) columns: Vec<String>,
    /// An index: what its records say stands in those of a table.
    pub(super) is_index: bool,
}

impl Table {
    /// What a row of the schema defines.
    pub(super) fn of(row: &[Value]) -> Option<Table> {
        let text = |i: usize| match row.get(i) {
            Some(Value::Text(text)) => String::from_utf8_lossy(text).into_owned(),
            _ => String::new(),
        };
        let Some(Value::Integer(root)) = row.get(3) else { return None };
        let (kind, sql) = (text(0), text(4));
        let is_index = match &*kind {
            "table" => false,
            // One on an expression may hold what no table does.
            "index" => sql.matches('(').count() <= 1,
            _ => return None,
        };
        let columns = if is_index { Vec::new() } else { columns(&sql) };
        (row.len() == 5 && (kind == "table" || is_index)).then(|| Table {
            root: u64::try_from(*root).unwrap_or(0),
            columns,
            is_index,
        })
    }
}

/// The names of the columns that a `CREATE TABLE` lists, in the order of its records; empty where it cannot be told.
fn columns(sql: &str) -> Vec<String> {
    let (parts, rest) = parts(sql);
    let upper = |text: &str| text.to_ascii_uppercase();
    let is_part_of_key = |part: &str| upper(part).contains("PRIMARY KEY");
    let (mut columns, mut key) = (Vec::new(), Vec::new());
    for part in parts.iter().map(|p| p.trim()) {
        let word: String = part.chars().take_while(char::is_ascii_alphabetic).collect();
        let is_constraint =
            matches!(&*upper(&word), "CONSTRAINT" | "PRIMARY" | "UNIQUE" | "CHECK" | "FOREIGN");
        if !is_constraint {
            // What is computed when it is read is in no record.
            let generated = upper(part).contains(" AS (") || upper(part).contains(" AS(");
            if generated && !upper(part).contains("STORED") {
                continue;
            }
            columns.push(name(part));
            if is_part_of_key(part) {
                key.push(name(part));
            }
        } else if is_part_of_key(part) {
            key.extend(self::parts(part).0.iter().map(|p| name(p)));
        }
    }
    // Without a row id the key comes first.
    if upper(&rest).contains("WITHOUT") {
        columns.retain(|c| !key.iter().any(|k| k.eq_ignore_ascii_case(c)));
        key.append(&mut columns);
        columns = key;
    }
    columns.truncate(MOST_COLUMNS);
    columns
}

/// What stands between the first brackets, cut at its commas, and what comes behind.
fn parts(sql: &str) -> (Vec<String>, String) {
    let Some(open) = sql.find('(') else { return Default::default() };
    let (mut depth, mut quote, mut parts, mut part) = (0, None, Vec::new(), String::new());
    let mut chars = sql.get(open + 1..).unwrap_or_default().chars();
    for c in chars.by_ref() {
        match (c, quote) {
            (c, Some(q)) if c == q => quote = None,
            (_, Some(_)) => {}
            ('"' | '\'' | '`', None) => quote = Some(c),
            ('[', None) => quote = Some(']'),
            ('(', None) => depth += 1,
            (')', None) if depth == 0 => break,
            (')', None) => depth -= 1,
            (',', None) if depth == 0 => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    parts.push(part);
    (parts, chars.collect())
}

fn name(part: &str) -> String {
    let part = part.trim();
    let quotes = ['"', '\'', '`', '[', ']'];
    let quoted = part.starts_with(quotes).then(|| part.split(quotes).nth(1)).flatten();
    quoted.or(part.split_whitespace().next()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::columns;

    #[test]
    fn columns_come_in_the_order_of_their_records() {
        for (sql, expected) in [
            ("CREATE TABLE a(id INTEGER PRIMARY KEY, \"card, number\" TEXT)", &["id", "card, number"][..]),
            (
                "CREATE TABLE a(name, ssn TEXT PRIMARY KEY, n DECIMAL(1, 2)) WITHOUT ROWID",
                &["ssn", "name", "n"],
            ),
            ("CREATE TABLE a(x, b, c, PRIMARY KEY (c, b)) STRICT, WITHOUT ROWID", &["c", "b", "x"]),
            ("CREATE TABLE a(x, CONSTRAINT one UNIQUE (x), y AS (x + 1), z AS (x) STORED)", &["x", "z"]),
            ("CREATE VIRTUAL TABLE a", &[]),
        ] {
            assert_eq!(columns(sql), expected, "{sql}");
        }
    }
}
