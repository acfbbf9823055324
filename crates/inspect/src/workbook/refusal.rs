//! Bounds on a workbook, and why one is refused.

/// Bounds on what a workbook may cost to look at.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Bytes of all parts, unpacked: bounds memory.
    pub total_bytes: u64,
    /// Bytes of one part, unpacked.
    pub part_bytes: u64,
    pub parts: usize,
    /// Unpacked over packed size of one part: stops bombs. Deflate reaches 1032 at most; sheets of zeros about 200.
    pub ratio: u64,
    /// Nesting of XML elements: bounds the stack of readers behind this one.
    pub depth: usize,
    /// Cells that [`super::contents`] returns; more is an error.
    pub cells: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 64 << 20,
            total_bytes: 256 << 20,
            part_bytes: 192 << 20,
            parts: 4096,
            ratio: 400,
            depth: 64,
            cells: 2_000_000,
        }
    }
}

/// Why a workbook is refused. Messages name parts and functions, never the content of cells.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkbookRefusal {
    #[error("this is not an XLSX workbook; save it as one")]
    NotAWorkbook,
    #[error("the workbook goes beyond the limit on its {0}")]
    Limit(&'static str),
    #[error("the workbook holds {found} in {part} ({code}); save it without")]
    Refused { code: &'static str, part: String, found: String },
}

impl WorkbookRefusal {
    pub(super) fn part(code: &'static str, part: &str) -> Self {
        let part: String = part.chars().take(120).flat_map(char::escape_default).collect();
        Self::Refused { code, part, found: code.replace('_', " ") }
    }

    /// The stable reason code, snake_case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAWorkbook => "not_a_workbook",
            Self::Limit(_) => "workbook_too_large",
            Self::Refused { code, .. } => code,
        }
    }
}
