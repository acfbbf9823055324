//! What the example agents share: a minimal MCP client and the making of workbooks.
#![forbid(unsafe_code)]

pub mod mcp;
pub mod workbook;
