//! Two versions of a workbook: cell by cell, with what formulas came to and how numbers are shown, name by name, and whatever else is
//! not as it was by what it is called.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek};

use chaperone_inspect::workbook::{Cell, Contents, Kind, Limits, contents, is_xlsx};
use chaperone_protocol::counted;
use chaperone_staging::printable;

use super::shown::{Difference, one_line};

/// Bytes that tell a workbook from another archive: the names of its first members stand there.
const HEAD: u64 = 4096;
/// Cells of one diff that are shown, and names.
const MOST: usize = 400;

/// What a file holds that is a workbook; nothing of one that is none.
pub(super) fn read(file: Option<&File>) -> Option<Book> {
    let Some(mut file) = file else { return Some(Book::default()) };
    file.rewind().ok()?;
    let mut head = Vec::new();
    file.take(HEAD).read_to_end(&mut head).ok()?;
    if !is_xlsx(&head) {
        return None;
    }
    file.rewind().ok()?;
    let Contents { cells, names, rest } = contents(&mut file, &Limits::default()).ok()?;
    let cells = cells.into_iter().map(|cell| (Place::new(&cell), cell)).collect();
    Some(Book { cells, names, rest })
}

#[derive(Debug, Default)]
pub(super) struct Book {
    cells: BTreeMap<Place, Cell>,
    names: BTreeMap<String, String>,
    rest: BTreeMap<String, [u8; 32]>,
}

/// Where a cell is: sheet by sheet, row by row, and in a row from left to right.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    sheet: String,
    row: u64,
    /// Letters of the column: `Z` comes before `AA`.
    column: (usize, String),
    /// As in `B7`; of what is named otherwise this is all that is known.
    cell: String,
}

impl Place {
    fn new(of: &Cell) -> Self {
        let digits = of.cell.find(|c: char| c.is_ascii_digit()).unwrap_or(of.cell.len());
        let (column, row) = of.cell.split_at(digits);
        let column = column.to_ascii_uppercase();
        let row = row.parse().unwrap_or(u64::MAX);
        Self { sheet: of.sheet.clone(), row, column: (column.len(), column), cell: of.cell.clone() }
    }
}

pub(super) fn difference(old: &Book, new: &Book) -> Difference {
    let mut shown = String::new();
    // Those beyond the limit are counted alone.
    let mut lines = 0;
    let mut line = |text: &dyn Fn() -> String| {
        lines += 1;
        if lines <= MOST {
            shown.push_str(&text());
        }
    };
    let mut cells = 0;
    let places: BTreeSet<_> = old.cells.keys().chain(new.cells.keys()).collect();
    for place in places {
        let (old, new) = (old.cells.get(place), new.cells.get(place));
        let Some(differs) = Differs::between(old, new) else { continue };
        cells += 1;
        line(&|| {
            let at = printable(&format!("{}!{}", place.sheet, place.cell), 80);
            format!("  {at}: {} → {}\n", differs.side(old), differs.side(new))
        });
    }
    let names: BTreeSet<_> = old.names.keys().chain(new.names.keys()).collect();
    for name in names.into_iter().filter(|name| old.names.get(*name) != new.names.get(*name)) {
        let side = |names: &BTreeMap<String, String>| names.get(name).map_or("∅".into(), |v| one_line(v));
        line(&|| format!("  name {}: {} → {}\n", printable(name, 80), side(&old.names), side(&new.names)));
    }
    if lines > MOST {
        let what = if cells == lines { "more cell" } else { "more difference" };
        shown.push_str(&format!("  … {}\n", counted(lines - MOST, what)));
    }
    let rest: BTreeSet<_> = old.rest.keys().chain(new.rest.keys()).collect();
    let rest = rest.into_iter().filter(|name| old.rest.get(*name) != new.rest.get(*name));
    let rest: Vec<String> = rest.map(|name| printable(name, 120)).collect();
    // Of a new one everything is new.
    if !rest.is_empty() && !old.rest.is_empty() {
        shown.push_str(&format!("  also not as it was: {}\n", rest.join("; ")));
    }
    Difference { text: shown, whole: lines <= MOST, lines: None }
}

/// In what two versions of a cell differ, to whoever looks at them.
#[derive(Debug, Clone, Copy)]
struct Differs {
    /// What its formula came to is to be seen, too.
    result: bool,
    kind: bool,
    format: bool,
}

impl Differs {
    fn between(old: Option<&Cell>, new: Option<&Cell>) -> Option<Self> {
        let (was, is) = (old.and_then(formula), new.and_then(formula));
        let is_other_value = old.map_or("", |c| &c.value) != new.map_or("", |c| &c.value);
        let is_other = was != is || is.is_none() && is_other_value;
        let differs = Self {
            // What was not worked out is worked out by whoever opens it. Where it is new, what it comes to is shown with it.
            result: is.is_some() && new.is_some_and(|c| !c.value.is_empty()) && (is_other || is_other_value),
            kind: !is_other && is.is_none() && old.map(|c| c.kind) != new.map(|c| c.kind),
            format: old.zip(new).is_some_and(|(old, new)| old.format != new.format),
        };
        (is_other || differs.result || differs.kind || differs.format).then_some(differs)
    }

    fn side(self, cell: Option<&Cell>) -> String {
        let Some(cell) = cell else { return "∅".to_owned() };
        let mut said = match formula(cell) {
            None => one_line(&cell.value),
            Some(formula) if self.result && !cell.value.is_empty() => {
                format!("={} (gives {})", one_line(formula), one_line(&cell.value))
            }
            Some(formula) => format!("={}", one_line(formula)),
        };
        if self.kind {
            said.push_str(match cell.kind {
                Kind::Number => " (a number)",
                Kind::Text => " (a text)",
                Kind::Truth => " (true or false)",
                Kind::Error => " (an error)",
            });
        }
        if self.format {
            said.push_str(&format!(", shown as {}", one_line(cell.format.as_deref().unwrap_or("usual"))));
        }
        said
    }
}

fn formula(cell: &Cell) -> Option<&str> {
    cell.formula.as_deref().filter(|formula| !formula.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(name: &str, value: &str, formula: Option<&str>) -> Cell {
        Cell {
            sheet: "Sheet".into(),
            cell: name.into(),
            value: value.into(),
            formula: formula.map(str::to_owned),
            kind: Kind::Number,
            format: None,
        }
    }

    fn book(cells: impl IntoIterator<Item = Cell>) -> Book {
        let cells = cells.into_iter().map(|cell| (Place::new(&cell), cell)).collect();
        Book { cells, ..Book::default() }
    }

    #[test]
    fn cells_are_shown_row_by_row_and_from_left_to_right() {
        let names = ["AA1", "A10", "B2", "Z1", "odd", "A1", "A2"];
        let shown = difference(&Book::default(), &book(names.map(|name| cell(name, "x", None)))).text;
        let order: Vec<&str> =
            shown.lines().filter_map(|line| line.trim().strip_prefix("Sheet!")?.split(':').next()).collect();
        assert_eq!(order, ["A1", "Z1", "AA1", "A2", "B2", "A10", "odd"]);
    }

    #[test]
    fn what_a_formula_comes_to_and_how_a_number_looks_is_shown() {
        let shown = |old: Cell, new: Cell| difference(&book([old]), &book([new])).text;
        let sum = |value: &str| cell("B1", value, Some("A1*2"));
        assert_eq!(shown(sum("200"), sum("777")), "  Sheet!B1: =A1*2 (gives 200) → =A1*2 (gives 777)\n");
        // Whoever opens it works it out.
        assert_eq!(shown(sum("200"), sum("")), "");
        assert_eq!(shown(sum("200"), sum("200")), "");
        let number =
            |format: Option<&str>| Cell { format: format.map(str::to_owned), ..cell("A1", "100", None) };
        assert_eq!(
            shown(number(None), number(Some("\"5555\""))),
            "  Sheet!A1: 100, shown as usual → 100, shown as \"5555\"\n"
        );
        let text = Cell { kind: Kind::Text, ..cell("A1", "100", None) };
        assert_eq!(shown(number(None), text), "  Sheet!A1: 100 (a number) → 100 (a text)\n");
        assert_eq!(
            shown(number(None), cell("A1", "100", Some("50*2"))),
            "  Sheet!A1: 100 → =50*2 (gives 100)\n"
        );
    }

    #[test]
    fn names_and_whatever_else_is_not_as_it_was_is_said() {
        let of = |rate: &str, layout: u8| Book {
            names: [("rate".to_owned(), rate.to_owned())].into(),
            rest: [("layout of S".to_owned(), [layout; 32]), ("tables".to_owned(), [1; 32])].into(),
            ..Book::default()
        };
        let shown = difference(&of("2", 1), &of("9", 2)).text;
        assert_eq!(shown, "  name rate: 2 → 9\n  also not as it was: layout of S\n");
        assert_eq!(difference(&of("2", 1), &of("2", 1)).text, "");
    }
}
