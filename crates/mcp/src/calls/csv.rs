//! Tables.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use chaperone_capability::Action;
use chaperone_inspect::workbook::BoundedRecords;
use chaperone_protocol::Failure;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::call::{Answer, Call};
use crate::tools;

/// Rows, cells and bytes of cells of one `get_csv` answer. Protects memory; what comes after is for another call.
const MAX_ROWS: u64 = 50_000;
const MAX_CELLS: usize = 500_000;
const MAX_BYTES: usize = 8 << 20;
/// Columns of a table, and bytes of one row. Protects memory; beyond it the file is no table for this tool.
const MAX_COLUMNS: usize = 16_384;
const MAX_RECORD: u64 = 4 << 20;
/// Bytes of the file it is made from.
const MAX_CSV: u64 = 64 << 20;

impl Call<'_> {
    pub(super) async fn get_csv(&self, a: tools::GetCsv, cancelled: &CancellationToken) -> Answer {
        let path = self.path(Action::Read, &a.path)?;
        let (granted, file, size) = self.open_for_reading(&path, cancelled).await?;
        if size > MAX_CSV {
            self.done(&granted, Action::Read, &path, false, 0)?;
            return Err(Failure::new(
                "too_large",
                format!("{path} has {size} bytes; get_csv takes at most {MAX_CSV}"),
            )
            .advise("read it in ranges with read_file"));
        }
        // One at a time: each holds its answer in memory several times over.
        let turn = tokio::select! {
            turn = self.tools.tables.0.acquire() => turn.ok(),
            () = cancelled.cancelled() => None,
        };
        let Some(_turn) = turn else {
            self.done(&granted, Action::Read, &path, false, 0)?;
            return Err(Failure::new("cancelled", "the request was withdrawn"));
        };
        let limit = a.limit.unwrap_or(MAX_ROWS).min(MAX_ROWS);
        let table = parse_csv(InFile { file: &file, at: 0, end: size }, a.offset, limit);
        self.done(&granted, Action::Read, &path, table.is_ok(), size)?;
        let table = table.map_err(|e| failure(&path, &e))?;
        Ok(
            json!({ "header": table.header, "types": table.types, "rows": table.rows, "total_rows": table.total, "redacted": granted.redacted }),
        )
    }
}

fn failure(path: &str, error: &::csv::Error) -> Failure {
    let code = match error.kind() {
        ::csv::ErrorKind::Io(e) if e.kind() == io::ErrorKind::FileTooLarge => "too_large",
        ::csv::ErrorKind::Io(_) => return Failure::new("io_error", format!("{path}: {error}")),
        _ => "not_csv",
    };
    Failure::new(code, format!("{path} is no table: {error}")).advise("read it with read_file")
}

/// A file from here to there, whoever else reads it.
struct InFile<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for InFile<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
        let count = self.file.read_at(buffer.get_mut(..most).unwrap_or_default(), self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

struct Table {
    header: Vec<String>,
    types: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    total: u64,
}

/// At most `limit` rows after `offset`, and no more than an answer may hold.
fn parse_csv(text: impl Read, offset: u64, limit: u64) -> Result<Table, ::csv::Error> {
    let text = BoundedRecords::new(text, MAX_RECORD);
    let mut reader = ::csv::ReaderBuilder::new().flexible(false).from_reader(text);
    let header: Vec<String> = reader.headers()?.iter().take(MAX_COLUMNS + 1).map(str::to_owned).collect();
    if header.len() > MAX_COLUMNS {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it has too many columns").into());
    }
    let mut types = vec!["empty"; header.len()];
    let (mut rows, mut total) = (Vec::new(), 0);
    let (mut cells, mut bytes, mut is_full) = (0, 0, false);
    let mut record = ::csv::StringRecord::new();
    while reader.read_record(&mut record)? {
        reader.get_mut().next_record();
        for (known, cell) in types.iter_mut().zip(&record) {
            *known = wider(known, type_of(cell));
        }
        if total >= offset && (rows.len() as u64) < limit && !is_full {
            (cells, bytes) = (cells + record.len(), bytes + record.as_slice().len());
            // The first row always fits: it is shorter than the longest that is taken.
            is_full = !rows.is_empty() && (cells > MAX_CELLS || bytes > MAX_BYTES);
            if !is_full {
                rows.push(record.iter().map(str::to_owned).collect());
            }
        }
        total += 1;
    }
    Ok(Table { header, types, rows, total })
}

fn type_of(cell: &str) -> &'static str {
    if cell.is_empty() {
        "empty"
    } else if cell.parse::<i64>().is_ok() {
        "integer"
    } else if cell.parse::<f64>().is_ok_and(f64::is_finite) {
        "number"
    } else if cell.parse::<jiff::civil::Date>().is_ok() {
        "date"
    } else {
        "text"
    }
}

fn wider(a: &'static str, b: &'static str) -> &'static str {
    match (a, b) {
        (a, "empty") => a,
        ("empty", b) => b,
        (a, b) if a == b => a,
        ("integer" | "number", "integer" | "number") => "number",
        _ => "text",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_holds_so_many_cells_and_bytes_and_the_next_one_goes_on() {
        let wide = format!("{}\n", vec!["1"; 1_000].join(",")).repeat(1_201);
        let first = parse_csv(wide.as_bytes(), 0, MAX_ROWS).unwrap();
        assert_eq!((first.rows.len() * 1_000, first.total), (MAX_CELLS, 1_200));
        let rest = parse_csv(wide.as_bytes(), 1_000, MAX_ROWS).unwrap();
        assert_eq!(rest.rows.len(), 200);
        let long = format!("text\n{}", format!("{}\n", "x".repeat(1 << 20)).repeat(20));
        assert_eq!(parse_csv(long.as_bytes(), 0, MAX_ROWS).unwrap().rows.len(), 8);
    }

    #[test]
    fn a_row_or_a_header_without_end_is_refused_before_it_is_memory() {
        let endless = |byte: u8| (&b"a\n"[..]).chain(io::repeat(byte).take(64 << 30));
        for byte in [b',', b'x', b'"'] {
            let error = parse_csv(endless(byte), 0, 1).err().unwrap();
            assert_eq!(failure("t.csv", &error).code, "too_large");
        }
        let columns = ",".repeat(MAX_COLUMNS);
        assert_eq!(failure("t.csv", &parse_csv(columns.as_bytes(), 0, 1).err().unwrap()).code, "too_large");
        assert_eq!(failure("t.csv", &parse_csv(&b"a,b\nc\n"[..], 0, 1).err().unwrap()).code, "not_csv");
    }
}
