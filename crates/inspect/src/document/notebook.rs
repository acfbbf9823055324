//! Notebooks of Jupyter: their texts, and what their outputs show.

use serde_json::Value;

use super::sink::Sink;
use super::{html, markdown, xml};

pub(super) fn scan(text: &str, sink: &mut Sink) {
    let Ok(notebook) = serde_json::from_str::<Value>(text) else {
        sink.reach.unseen = true;
        return;
    };
    let sheets = notebook["worksheets"].as_array().into_iter().flatten().map(|sheet| &sheet["cells"]);
    for cell in sheets.chain([&notebook["cells"]]).filter_map(Value::as_array).flatten() {
        if cell["cell_type"] == "markdown" || cell["cell_type"] == "raw" {
            sink.inner(|sink| markdown::scan(&joined(&cell["source"]), sink));
        }
        for output in cell["outputs"].as_array().into_iter().flatten() {
            let data = output["data"].as_object().or_else(|| output.as_object());
            for (kind, value) in data.into_iter().flatten() {
                let content = joined(value);
                match kind.as_str() {
                    "text/html" | "html" => sink.inner(|sink| html::scan(&content, sink)),
                    "text/markdown" | "markdown" => sink.inner(|sink| markdown::scan(&content, sink)),
                    "image/svg+xml" | "svg" => sink.inner(|sink| xml::scan(&content, true, sink)),
                    "application/javascript" | "text/javascript" | "javascript" => {
                        sink.active("script", &content)
                    }
                    _ => {}
                }
            }
        }
    }
}

/// A text, or a list of its lines.
fn joined(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(lines) => lines.iter().filter_map(Value::as_str).collect(),
        _ => String::new(),
    }
}
