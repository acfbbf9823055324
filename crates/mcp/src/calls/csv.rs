//! Tables.

use chaperone_capability::Action;
use chaperone_protocol::Failure;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::call::{Answer, Call};
use super::files::read_range;
use crate::tools;

/// Rows of one `get_csv` answer, and bytes of the file it is made from.
const MAX_ROWS: u64 = 50_000;
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
        let bytes = read_range(&file, 0, size);
        self.done(&granted, Action::Read, &path, bytes.is_ok(), size)?;
        let bytes = bytes.map_err(|e| Failure::new("io_error", format!("{path}: {e}")))?;
        let table = parse_csv(&bytes, a.offset, a.limit.unwrap_or(MAX_ROWS).min(MAX_ROWS)).map_err(|e| {
            Failure::new("not_csv", format!("{path} is not CSV: {e}")).advise("read it with read_file")
        })?;
        Ok(
            json!({ "header": table.header, "types": table.types, "rows": table.rows, "total_rows": table.total, "redacted": granted.redacted }),
        )
    }
}

struct Table {
    header: Vec<String>,
    types: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    total: u64,
}

fn parse_csv(bytes: &[u8], offset: u64, limit: u64) -> Result<Table, ::csv::Error> {
    let mut reader = ::csv::ReaderBuilder::new().flexible(false).from_reader(bytes);
    let header: Vec<String> = reader.headers()?.iter().map(str::to_owned).collect();
    let mut types = vec!["empty"; header.len()];
    let (mut rows, mut total) = (Vec::new(), 0);
    for record in reader.records() {
        let record = record?;
        for (known, cell) in types.iter_mut().zip(&record) {
            *known = wider(known, type_of(cell));
        }
        if total >= offset && (rows.len() as u64) < limit {
            rows.push(record.iter().map(str::to_owned).collect());
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
