//! The case study's agent: it knows MCP and files, nothing else.
//!
//! `spreadsheet-agent [MCP-SERVER ARGUMENT…]` reads the CSV reports below `/workspace/reports`, some through the
//! MCP server (by default `chaperone mcp`), some as plain files, builds pivot tables, and saves workbooks below
//! `/workspace/out`. A report it may not read is left out.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use base64::Engine as _;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use spreadsheet_example::mcp::Client;
use spreadsheet_example::workbook::{Table, pivot};

fn main() -> ExitCode {
    let mut server: Vec<String> = std::env::args().skip(1).collect();
    if server.is_empty() {
        server = vec!["chaperone".into(), "mcp".into()];
    }
    match work(&server) {
        Ok(saved) => {
            println!("agent: saved {saved} workbooks");
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("agent: {e}");
            ExitCode::FAILURE
        }
    }
}

fn work(server: &[String]) -> Result<u32, String> {
    let mut mcp = Client::start(server)?;
    let listing = mcp.call("list_directory", &json!({ "path": "/workspace/reports" }))?;
    println!("agent: {} reports to read", listing["entries"].as_array().map_or(0, Vec::len));
    let mut saved = 0;

    // Through the narrow RPC: rows come back parsed, the workbook goes out as a content hash.
    let sales = table(&mcp.call("get_csv", &json!({ "path": "/workspace/reports/sales.csv" }))?)?;
    println!("agent: sales.csv has {} rows", sales.rows.len());
    let book = pivot(&sales, "region", "product", "amount")?;
    save(&mut mcp, "/workspace/out/sales-by-region.xlsx", &book)?;
    saved += 1;

    // Through the file system, as any program would.
    let text = std::fs::read_to_string("/workspace/reports/headcount.csv")
        .map_err(|e| format!("headcount.csv: {e}"))?;
    let headcount = Table::parse(&text)?;
    println!("agent: headcount.csv has {} rows", headcount.rows.len());
    let book = pivot(&headcount, "department", "site", "heads")?;
    std::fs::write("/workspace/out/headcount.xlsx", book).map_err(|e| format!("headcount.xlsx: {e}"))?;
    saved += 1;

    // This one holds personal data: the user decides.
    match mcp.call("get_csv", &json!({ "path": "/workspace/reports/employees.csv" })) {
        Ok(rows) => {
            let employees = table(&rows)?;
            println!("agent: employees.csv has {} rows", employees.rows.len());
            let book = pivot(&by_department(&employees), "department", "kind", "bonus")?;
            save(&mut mcp, "/workspace/out/bonus-by-department.xlsx", &book)?;
            saved += 1;
        }
        Err(refusal) => println!("agent: going on without employees.csv ({})", first_line(&refusal)),
    }
    Ok(saved)
}

/// Only what the pivot needs leaves the personal data behind.
fn by_department(employees: &Table) -> Table {
    let (department, bonus) = (employees.column("department"), employees.column("bonus"));
    let cell = |row: &Vec<String>, column: Option<u16>| {
        column.and_then(|c| row.get(usize::from(c))).cloned().unwrap_or_default()
    };
    Table {
        header: ["department", "kind", "bonus"].map(str::to_owned).to_vec(),
        rows: employees
            .rows
            .iter()
            .map(|r| vec![cell(r, department), "yearly".into(), cell(r, bonus)])
            .collect(),
    }
}

fn save(mcp: &mut Client, dest: &str, book: &[u8]) -> Result<(), String> {
    let hash = format!("sha256:{}", hex::encode(Sha256::digest(book)));
    let encoded = base64::engine::general_purpose::STANDARD.encode(book);
    mcp.call("stage_blob", &json!({ "content": encoded, "encoding": "base64" }))?;
    mcp.call("save_workbook", &json!({ "dest_path": dest, "content_hash": hash }))?;
    println!("agent: saved {dest}");
    Ok(())
}

fn table(answer: &Value) -> Result<Table, String> {
    let strings = |v: &Value| -> Vec<String> {
        v.as_array()
            .into_iter()
            .flatten()
            .map(|c| c.as_str().map_or_else(|| c.to_string(), str::to_owned))
            .collect()
    };
    let header = strings(&answer["header"]);
    if header.is_empty() {
        return Err("the CSV has no header".into());
    }
    Ok(Table { header, rows: answer["rows"].as_array().into_iter().flatten().map(strings).collect() })
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
