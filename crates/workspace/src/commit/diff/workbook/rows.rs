//! Which rows of a sheet are which: a row that was put between others moves those below it, and changes none of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chaperone_inspect::workbook::Cell;
use similar::Algorithm;

/// Time to find out for one sheet; after that what is left over is taken for changed row by row.
const TIME: Duration = Duration::from_millis(300);

/// The cells of a sheet by rows, and in a row by columns: `AA` behind `Z`.
pub(super) type Rows<'b> = BTreeMap<u64, BTreeMap<(usize, &'b str), &'b Cell>>;

/// What a row became: its number before and after, one of them where it came or went.
pub(super) type Step = (Option<u64>, Option<u64>);

/// The steps in the order of the rows. All of them, also of rows in which nothing changed.
pub(super) fn steps(old: &Rows<'_>, new: &Rows<'_>) -> Vec<Step> {
    // Nothing of how many rows there are has changed: each is where it was.
    if old.keys().eq(new.keys()) {
        return old.keys().map(|number| (Some(*number), Some(*number))).collect();
    }
    let (of_old, of_new) = (told(old), told(new));
    let ops = similar::capture_diff_slices_deadline(
        Algorithm::Myers,
        &of_old.iter().map(|(_, row)| row).collect::<Vec<_>>(),
        &of_new.iter().map(|(_, row)| row).collect::<Vec<_>>(),
        Some(Instant::now() + TIME),
    );
    let number = |rows: &[(u64, String)], at: usize| rows.get(at).map(|(number, _)| *number);
    let mut steps = Vec::new();
    for op in &ops {
        let (of, to) = (op.old_range(), op.new_range());
        let both = of.len().min(to.len());
        // What takes the place of as many others is what became of them.
        let pairs = of.clone().zip(to.clone()).map(|(of, to)| (number(&of_old, of), number(&of_new, to)));
        steps.extend(pairs);
        steps.extend(of.skip(both).map(|of| (number(&of_old, of), None)));
        steps.extend(to.skip(both).map(|to| (None, number(&of_new, to))));
    }
    steps
}

/// Each row with what stands in it, formulas without the numbers of the rows that they use.
fn told(rows: &Rows<'_>) -> Vec<(u64, String)> {
    let of = |(number, cells): (&u64, &BTreeMap<(usize, &str), &Cell>)| {
        let mut row = String::new();
        for ((_, column), cell) in cells {
            let formula = cell.formula.as_deref().filter(|formula| !formula.is_empty());
            let said = formula.map(|formula| with_rows(formula, &|_| Some(String::new())));
            let said = said.as_deref().unwrap_or(&cell.value);
            row.push_str(&format!("{column}\0{}\0{said}\u{1}", formula.is_some()));
        }
        (*number, row)
    };
    rows.iter().map(of).collect()
}

/// Where each row of a sheet came to: of one that has nothing, as far as the one before it moved.
pub(super) struct Moved(Vec<(u64, i128)>);

impl Moved {
    pub fn by(steps: &[Step]) -> Self {
        let by = |step: &Step| match *step {
            (Some(old), Some(new)) => Some((old, i128::from(new) - i128::from(old))),
            _ => None,
        };
        Self(steps.iter().filter_map(by).collect())
    }

    /// A formula as it would be if it went along with what it uses.
    pub fn formula(&self, formula: &str) -> String {
        with_rows(formula, &|row| {
            let before = self.0.partition_point(|(old, _)| *old <= row);
            let by = before.checked_sub(1).and_then(|at| self.0.get(at)).map_or(0, |(_, by)| *by);
            u64::try_from(i128::from(row) + by).ok().map(|row| row.to_string())
        })
    }
}

/// A formula with other numbers of rows in the cells of its own sheet that it names, but for texts in it.
fn with_rows(formula: &str, number: &dyn Fn(u64) -> Option<String>) -> String {
    let bytes = formula.as_bytes();
    let at = |i: usize| bytes.get(i).copied().unwrap_or(0);
    let run = |from: usize, is: fn(&u8) -> bool| {
        bytes.get(from..).unwrap_or_default().iter().take_while(|b| is(b)).count()
    };
    let is_name =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'!' | b'\'' | b'$') || b >= 0x80;
    let (mut out, mut i, mut copied, mut quote) = (String::with_capacity(formula.len()), 0, 0, 0u8);
    while i < bytes.len() {
        let here = at(i);
        if quote != 0 || matches!(here, b'"' | b'\'') {
            quote = if quote == 0 {
                here
            } else if quote == here {
                0
            } else {
                quote
            };
            i += 1;
            continue;
        }
        let begins = i == 0 || !is_name(at(i - 1));
        let dollar = usize::from(here == b'$');
        let letters = run(i + dollar, u8::is_ascii_alphabetic);
        let second = i + dollar + letters;
        let digits_at = second + usize::from(at(second) == b'$');
        let digits = run(digits_at, u8::is_ascii_digit);
        let end = digits_at + digits;
        let is_cell = begins
            && (1..=3).contains(&letters)
            && (1..=7).contains(&digits)
            && !is_name(at(end))
            && at(end) != b'(';
        if !is_cell {
            i += 1;
            continue;
        }
        let row = formula.get(digits_at..end).and_then(|row| row.parse().ok());
        if let Some(row) = row.and_then(number) {
            out.push_str(formula.get(copied..digits_at).unwrap_or_default());
            out.push_str(&row);
            copied = end;
        }
        i = end;
    }
    out.push_str(formula.get(copied..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_of_a_formula_go_along_and_nothing_else() {
        let moved = Moved(vec![(1, 0), (2, 0), (5, 1), (9, 1)]);
        for (formula, now) in [
            ("A1+B2", "A1+B2"),
            ("A5*$B$9", "A6*$B$10"),
            ("SUM(A1:A20)", "SUM(A1:A21)"),
            ("A3&\"A5\"", "A3&\"A5\""),
            ("Other!A5+'My A5'!B5", "Other!A5+'My A5'!B5"),
            ("LOG10(A5)", "LOG10(A6)"),
            ("rate_A5+itemsA55", "rate_A5+itemsA55"),
            ("A5:A5", "A6:A6"),
        ] {
            assert_eq!(moved.formula(formula), now, "{formula}");
        }
    }
}
