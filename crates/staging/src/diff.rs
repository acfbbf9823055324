//! Differences between what was and what is staged, safe to print.

use std::collections::BTreeMap;
use std::fs::File;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::change::Change;
use crate::content;
pub use crate::printable::printable;

/// Larger text is shown by size and SHA-256 alone: bounds memory and time of a difference.
const TEXT_BYTES: usize = 4 << 20;
/// Time that the search for the smallest difference may take; after it a coarser one is given.
const DIFF_TIME: Duration = Duration::from_millis(500);
/// Bytes of a difference that are shown.
const SHOWN_BYTES: usize = 256 << 10;
/// Characters of one line that are shown.
const LINE_CHARACTERS: usize = 2000;
/// Changed cells that are listed.
const SHOWN_CELLS: usize = 5000;

/// What a change changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Diff {
    /// A unified difference, neutralised for terminals.
    Text {
        unified: String,
        truncated: bool,
    },
    /// Cells of a workbook, from [`cells`].
    Cells {
        cells: Vec<CellChange>,
        truncated: bool,
    },
    Binary {
        old: Option<Digest>,
        new: Option<Digest>,
    },
    /// No content: directories, links, renames, modes.
    Nothing,
}

/// Size and SHA-256 of content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    pub size: u64,
    pub sha256: String,
}

/// One changed cell; formulas begin with `=`. Neutralised for terminals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellChange {
    pub sheet: String,
    pub cell: String,
    pub old: Option<String>,
    pub new: Option<String>,
}

/// The difference that `change` makes, from its old and its new content. Bounded in size and time.
pub fn diff(change: &Change, old: Option<&File>, new: Option<&File>) -> std::io::Result<Diff> {
    if old.is_none() && new.is_none() {
        return Ok(Diff::Nothing);
    }
    if let (Some(old), Some(new)) = (text_of(old)?, text_of(new)?) {
        return Ok(unified(&change.path, &old, &new));
    }
    let work = content::Work::new(None);
    let digest = |file: Option<&File>| file.map(|file| content::fingerprint(file, &work)).transpose();
    let shown = |print: content::Fingerprint| Digest { size: print.size, sha256: print.hex() };
    Ok(Diff::Binary { old: digest(old)?.map(shown), new: digest(new)?.map(shown) })
}

/// The difference of two workbooks, from `(sheet, cell, value or =formula)` of each, sorted by sheet and cell.
pub fn cells(
    old: impl IntoIterator<Item = (String, String, String)>,
    new: impl IntoIterator<Item = (String, String, String)>,
) -> Diff {
    let mut both: BTreeMap<(String, String), (Option<String>, Option<String>)> = BTreeMap::new();
    for (sheet, cell, text) in old {
        both.entry((sheet, cell)).or_default().0 = Some(text);
    }
    for (sheet, cell, text) in new {
        both.entry((sheet, cell)).or_default().1 = Some(text);
    }
    let mut changed = both.into_iter().filter(|(_, (old, new))| old != new);
    let shown = |text: Option<String>| text.map(|text| printable(&text, LINE_CHARACTERS));
    let cells: Vec<CellChange> = changed
        .by_ref()
        .take(SHOWN_CELLS)
        .map(|((sheet, cell), (old, new))| CellChange {
            sheet: printable(&sheet, 200),
            cell: printable(&cell, 20),
            old: shown(old),
            new: shown(new),
        })
        .collect();
    Diff::Cells { cells, truncated: changed.next().is_some() }
}

/// The text of a file (no file: none), or `None` when it is too large or no text.
fn text_of(file: Option<&File>) -> std::io::Result<Option<String>> {
    let Some(file) = file else { return Ok(Some(String::new())) };
    let bytes = content::head(file, TEXT_BYTES + 1)?;
    Ok(String::from_utf8(bytes).ok().filter(|text| text.len() <= TEXT_BYTES && !text.contains('\0')))
}

fn unified(path: &str, old: &str, new: &str) -> Diff {
    let difference = similar::TextDiff::configure().deadline(Instant::now() + DIFF_TIME).diff_lines(old, new);
    let name = printable(path, 300);
    let mut text = format!("--- a/{name}\n+++ b/{name}\n");
    for hunk in difference.unified_diff().context_radius(3).iter_hunks() {
        text.push_str(&format!("{}\n", hunk.header()));
        for line in hunk.iter_changes() {
            let content = line.value().strip_suffix('\n').unwrap_or(line.value());
            text.push_str(&format!("{}{}\n", line.tag(), printable(content, LINE_CHARACTERS)));
            if text.len() > SHOWN_BYTES {
                return Diff::Text { unified: text, truncated: true };
            }
        }
    }
    Diff::Text { unified: text, truncated: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::printable::is_deceptive;

    #[test]
    fn a_difference_cannot_steer_the_terminal_that_shows_it() {
        let Diff::Text { unified, .. } = unified("a\u{1b}[2J", "x\n", "y\u{202e}\u{1b}]52;c;\u{7}\n") else {
            panic!("text was not shown as text")
        };
        assert!(unified.contains("-x") && unified.contains("+y\\u{202e}\\u{1b}]52;c;\\u{7}"));
        assert!(!unified.chars().any(|c| c != '\n' && is_deceptive(c)));
    }

    #[test]
    fn a_huge_difference_is_bounded_in_size_and_time() {
        let lines =
            |by: u64| (0..300_000u64).map(|n| format!("{}\n", n.wrapping_mul(by) % 977)).collect::<String>();
        let start = Instant::now();
        let Diff::Text { unified, truncated } = unified("a", &lines(7919), &lines(104_729)) else {
            panic!("text was not shown as text")
        };
        assert!(truncated && unified.len() < 2 * SHOWN_BYTES);
        assert!(start.elapsed() < Duration::from_secs(10), "took {:?}", start.elapsed());
    }

    #[test]
    fn changed_added_and_removed_cells_are_listed() {
        let cell = |at: &str, text: &str| ("S".to_owned(), at.to_owned(), text.to_owned());
        let Diff::Cells { cells, .. } =
            cells([cell("A1", "1"), cell("A2", "2")], [cell("A1", "=B1"), cell("A3", "3")])
        else {
            panic!("cells were not shown as cells")
        };
        let shown: Vec<_> = cells.iter().map(|c| (c.old.as_deref(), c.new.as_deref())).collect();
        assert_eq!(shown, [(Some("1"), Some("=B1")), (Some("2"), None), (None, Some("3"))]);
    }
}
