//! Two versions of a workbook: cell by cell, with what formulas came to and how numbers are shown, name by name, and whatever else is
//! not as it was by what it is called.

mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek};

use chaperone_inspect::workbook::{Cell, Contents, Kind, Limits, WorkbookRefusal, contents, is_xlsx};
use chaperone_protocol::counted;
use chaperone_staging::printable;
use parking_lot::Mutex;

use self::rows::{Moved, Rows};
use super::shown::{Difference, one_line};

/// Bytes that tell a workbook from another archive: the names of its first members stand there.
const HEAD: u64 = 4096;
/// Cells of one diff that are shown, and names.
const MOST: usize = 400;

/// Cells that are compared. Protects memory: each takes some hundred bytes, on either side.
const CELLS: usize = 250_000;
/// Two of them at once, of however many sessions, would take twice as much.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The difference between files that are workbooks; nothing of others. `sizes` says how large they are, for those that have too many
/// cells to be compared.
pub(super) fn compared(
    old: Option<&File>,
    new: Option<&File>,
    sizes: &dyn Fn() -> String,
) -> Option<Difference> {
    let _one = ONE_AT_A_TIME.lock();
    let (old, new) = (read(old)?, read(new)?);
    Some(match (old, new) {
        (Some(old), Some(new)) => difference(&old, &new),
        _ => Difference::cut(format!("  more than {CELLS} cells, too many to compare: {}\n", sizes())),
    })
}

/// What a file holds that is a workbook, or that it has too many cells; nothing of one that is none.
fn read(file: Option<&File>) -> Option<Option<Book>> {
    let Some(mut file) = file else { return Some(Some(Book::default())) };
    file.rewind().ok()?;
    let mut head = Vec::new();
    file.take(HEAD).read_to_end(&mut head).ok()?;
    if !is_xlsx(&head) {
        return None;
    }
    file.rewind().ok()?;
    let Contents { cells, names, rest } =
        match contents(&mut file, &Limits { cells: CELLS, ..Limits::default() }) {
            Ok(contents) => contents,
            Err(WorkbookRefusal::Limit(_)) => return Some(None),
            Err(_) => return None,
        };
    let cells = cells.into_iter().map(|cell| (Place::new(&cell), cell)).collect();
    Some(Some(Book { cells, names, rest }))
}

impl Book {
    fn sheets(&self) -> BTreeMap<&str, Rows<'_>> {
        let mut sheets: BTreeMap<&str, Rows<'_>> = BTreeMap::new();
        for (place, cell) in &self.cells {
            let row = sheets.entry(&place.sheet).or_default().entry(place.row).or_default();
            row.insert((place.column.0, &place.column.1), cell);
        }
        sheets
    }
}

#[derive(Debug, Default)]
struct Book {
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

fn difference(old: &Book, new: &Book) -> Difference {
    let mut shown = String::new();
    // Those beyond the limit are counted alone.
    let mut lines = 0;
    let mut line = |text: &dyn Fn() -> String| {
        lines += 1;
        if lines <= MOST {
            shown.push_str(&text());
        }
    };
    let (of_old, of_new) = (old.sheets(), new.sheets());
    let sheets: BTreeSet<&str> = of_old.keys().chain(of_new.keys()).copied().collect();
    for sheet in sheets {
        let none = Rows::new();
        let (was, is) = (of_old.get(sheet).unwrap_or(&none), of_new.get(sheet).unwrap_or(&none));
        of_sheet(sheet, was, is, &mut line);
    }
    let names: BTreeSet<_> = old.names.keys().chain(new.names.keys()).collect();
    for name in names.into_iter().filter(|name| old.names.get(*name) != new.names.get(*name)) {
        let side = |names: &BTreeMap<String, String>| names.get(name).map_or("∅".into(), |v| one_line(v));
        line(&|| format!("  name {}: {} → {}\n", printable(name, 80), side(&old.names), side(&new.names)));
    }
    if lines > MOST {
        shown.push_str(&format!("  … {}\n", counted(lines - MOST, "more difference")));
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

fn of_sheet(sheet: &str, was: &Rows<'_>, is: &Rows<'_>, line: &mut dyn FnMut(&dyn Fn() -> String)) {
    let steps = rows::steps(was, is);
    let moved = Moved::by(&steps);
    let whole = was.is_empty() || is.is_empty();
    // By how much those that stay are further down than they were, by what came and went before them.
    let mut by = 0i128;
    for step in steps {
        let (old, new) = (step.0.and_then(|row| was.get(&row)), step.1.and_then(|row| is.get(&row)));
        match step {
            (None, Some(row)) if !whole => {
                by += 1;
                line(&|| format!("  {}: ∅ → {}\n", of_row(sheet, row), all_of(new)));
                continue;
            }
            (Some(row), None) if !whole => {
                by -= 1;
                line(&|| format!("  {}: {} → ∅\n", of_row(sheet, row), all_of(old)));
                continue;
            }
            (Some(from), Some(to)) if i128::from(to) - i128::from(from) != by => {
                by = i128::from(to) - i128::from(from);
                // One that is where it was needs no word.
                if by != 0 {
                    line(&|| format!("  {} → row {to}\n", of_row(sheet, from)));
                }
            }
            _ => {}
        }
        let columns: BTreeSet<_> = old.into_iter().chain(new).flat_map(BTreeMap::keys).collect();
        for column in columns {
            let (old, new) = (old.and_then(|row| row.get(column)), new.and_then(|row| row.get(column)));
            // What only went along with the rows that it uses is as it was.
            let along = old.map(|cell| Cell {
                formula: formula(cell).map(|formula| moved.formula(formula)),
                ..(*cell).clone()
            });
            let went = new.and_then(|cell| formula(cell)) == along.as_ref().and_then(formula);
            let old = if went { along.as_ref() } else { old.copied() };
            let new = new.copied();
            let Some(cell) = new.or(old) else { continue };
            let at = || printable(&format!("{sheet}!{}", cell.cell), 80);
            match Differs::between(old, new) {
                Some(differs) => {
                    line(&|| format!("  {}: {} → {}\n", at(), differs.side(old), differs.side(new)));
                }
                None if !went && formula(cell).is_some() => line(&|| {
                    format!("  {}: {} as before, but what it uses moved\n", at(), ALONE.side(Some(cell)))
                }),
                None => {}
            }
        }
    }
}

fn of_row(sheet: &str, row: u64) -> String {
    printable(&format!("{sheet}, row {row}"), 80)
}

/// A row in one line.
fn all_of(row: Option<&BTreeMap<(usize, &str), &Cell>>) -> String {
    let cells = row.into_iter().flatten().map(|(_, cell)| ALONE.side(Some(cell)));
    cells.collect::<Vec<_>>().join(" | ")
}

/// In what two versions of a cell differ, to whoever looks at them.
#[derive(Debug, Clone, Copy)]
struct Differs {
    /// What its formula came to is to be seen, too.
    result: bool,
    kind: bool,
    format: bool,
}

/// Of a cell that stands for itself.
const ALONE: Differs = Differs { result: true, kind: false, format: false };

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
            None => of_value(cell),
            Some(formula) if self.result && !cell.value.is_empty() => {
                format!("={} (gives {})", one_line(formula), of_value(cell))
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

/// A value as people read it: dates as such, with the number that is stored, and numbers with the digits that programs show.
fn of_value(cell: &Cell) -> String {
    let number: Option<f64> = cell.value.parse().ok().filter(|_| cell.kind == Kind::Number);
    let shown = || match number {
        // Behind the fifteenth digit stands what a binary fraction cannot say.
        Some(number) if cell.value.len() > 16 => {
            format!("{number:.14e}").parse().unwrap_or(number).to_string()
        }
        _ => cell.value.clone(),
    };
    let day = number.zip(cell.format.as_deref()).and_then(|(number, format)| date(number, format));
    let text = match day {
        Some(day) => format!("{day} ({})", shown()),
        None => shown(),
    };
    one_line(&text)
}

/// The date that a number stands for where it is shown as one, as workbooks count days but for old ones of Macintoshes.
///
/// Source: ECMA-376, Part 1, 18.17.4.1.
fn date(number: f64, format: &str) -> Option<String> {
    // Of texts, colours and places in a format nothing is a sign of it.
    let mut quote = None;
    let signs = format.chars().filter(|c| match (quote, c) {
        (None, '"') | (None, '[') => {
            quote = Some(if *c == '"' { '"' } else { ']' });
            false
        }
        (Some(end), c) => {
            if end == *c {
                quote = None;
            }
            false
        }
        (None, _) => true,
    });
    let signs: String = signs.collect::<String>().to_lowercase();
    let has = |sign: char| signs.contains(sign);
    if !(has('y') || has('d')) || has('0') || has('#') || !(61.0..2_958_466.0).contains(&number) {
        return None;
    }
    let seconds = (number * 86_400.0).round() as i64;
    let first = jiff::civil::date(1899, 12, 30).at(0, 0, 0, 0);
    let at = first.checked_add(jiff::SignedDuration::from_secs(seconds)).ok()?;
    Some(if seconds % 86_400 == 0 { at.date().to_string() } else { at.to_string().replace('T', " ") })
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
    fn a_row_that_comes_or_goes_is_one_line_and_moves_the_others_unsaid() {
        let row = |number: u64, name: &str, price: &str, uses: u64| {
            [
                cell(&format!("A{number}"), name, None),
                cell(&format!("B{number}"), price, None),
                cell(&format!("C{number}"), "7", Some(&format!("B{uses}*2+$D$1"))),
            ]
        };
        let before = || (1..=50).flat_map(|n| row(n, &format!("item {n}"), "3", n)).collect::<Vec<_>>();
        let with = |price: &str| {
            let moved = (20..=50).flat_map(|n| row(n + 1, &format!("item {n}"), "3", n + 1));
            let all = (1..20).flat_map(|n| row(n, &format!("item {n}"), "3", n));
            all.chain(row(20, "new", price, 20)).chain(moved).collect::<Vec<_>>()
        };
        let shown = |old: Vec<Cell>, new: Vec<Cell>| difference(&book(old), &book(new)).text;
        assert_eq!(shown(before(), with("9")), "  Sheet, row 20: ∅ → new | 9 | =B20*2+$D$1 (gives 7)\n");
        assert_eq!(shown(with("9"), before()), "  Sheet, row 20: new | 9 | =B20*2+$D$1 (gives 7) → ∅\n");
        // What else changes is still seen, also a formula that leads elsewhere than it would.
        let mut other = with("9");
        *other.iter_mut().find(|c| c.cell == "B40").unwrap() = cell("B40", "4", None);
        *other.iter_mut().find(|c| c.cell == "C45").unwrap() = cell("C45", "7", Some("B44*2+$D$1"));
        let told = shown(before(), other);
        assert!(told.contains("  Sheet!B40: 3 → 4\n"), "{told}");
        let stays = "  Sheet!C45: =B44*2+$D$1 (gives 7) as before, but what it uses moved\n";
        assert!(told.contains(stays), "{told}");
        assert_eq!(told.lines().count(), 3, "{told}");
        // A row whose cells were emptied moves none.
        let emptied = before().into_iter().filter(|c| !c.cell.ends_with("20")).collect();
        assert_eq!(shown(before(), emptied), "  Sheet, row 20: item 20 | 3 | =B20*2+$D$1 (gives 7) → ∅\n");
        // Rows of nothing between others are told, too.
        let apart: Vec<Cell> =
            (1..=50).flat_map(|n| row(n + n / 30 * 5, &format!("item {n}"), "3", n + n / 30 * 5)).collect();
        assert_eq!(shown(before(), apart), "  Sheet, row 30 → row 35\n");
    }

    #[test]
    fn dates_and_fractions_are_shown_as_people_read_them() {
        let of = |value: &str, format: &str| {
            of_value(&Cell { format: Some(format.to_owned()), ..cell("A1", value, None) })
        };
        assert_eq!(of("46027", "yyyy-mm-dd"), "2026-01-05 (46027)");
        assert_eq!(of("46027.5", "m/d/yy h:mm"), "2026-01-05 12:00:00 (46027.5)");
        assert_eq!(of("46027", "[$-407]d. mmmm yyyy;@"), "2026-01-05 (46027)");
        for plain in ["0.00", "#,##0.00\" days\"", "General", "[Red]0", "@"] {
            assert_eq!(of("46027", plain), "46027", "{plain}");
        }
        assert_eq!(of_value(&cell("A1", "0.07000000000000001", None)), "0.07");
        assert_eq!(of_value(&cell("A1", "0.1", None)), "0.1");
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
