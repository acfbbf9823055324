//! What a staged change does to a file, for a person: a unified diff for text, cell by cell for workbooks, sizes
//! for the rest. Bounded, and safe to print.

use std::fs::File;
use std::io::{Read, Seek};

use chaperone_inspect::workbook::{Limits, cells};
use chaperone_staging::{Change, Op};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use similar::TextDiff;

use crate::mount::LiveMount;

/// Largest text that is compared line by line, each side.
const MAX_TEXT: u64 = 1 << 20;
/// Lines of one diff that are shown.
const MAX_LINES: usize = 400;
/// Longest line that is shown, in characters.
const MAX_LINE: usize = 400;

/// The difference as text, ending in a newline.
#[must_use]
pub fn of(mount: &LiveMount, change: &Change) -> String {
    if change.op == Op::Rename && change.blob.is_none() {
        return format!("  moved, {} bytes as they were\n", change.size);
    }
    let old = if change.op == Op::Create { None } else { open_old(mount, change) };
    let new = change.blob.as_ref().and_then(|b| File::open(b).ok());
    if let (Some(old), Some(new)) = (book(old.as_ref()), book(new.as_ref())) {
        return cell_by_cell(&old, &new);
    }
    match (text(old.as_ref()), text(new.as_ref())) {
        (Some(old), Some(new)) if change.kind == chaperone_staging::Kind::File => {
            unified(&change.path, &old, &new)
        }
        _ => {
            let size = |f: Option<&File>| {
                f.and_then(|f| f.metadata().ok())
                    .map_or_else(|| "nothing".to_owned(), |m| format!("{} bytes", m.len()))
            };
            format!("  binary: {} → {}\n", size(old.as_ref()), size(new.as_ref()))
        }
    }
}

fn open_old(mount: &LiveMount, change: &Change) -> Option<File> {
    let path = change.from.as_deref().unwrap_or(&change.path);
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::openat2(&mount.root, path, flags, Mode::empty(), beneath).ok().map(File::from)
}

/// The text of a file; an absent one is empty, a large or binary one is `None`.
fn text(file: Option<&File>) -> Option<String> {
    let Some(mut file) = file else { return Some(String::new()) };
    file.rewind().ok()?;
    let mut bytes = Vec::new();
    file.take(MAX_TEXT + 1).read_to_end(&mut bytes).ok()?;
    if bytes.len() as u64 > MAX_TEXT || bytes.contains(&0) {
        return None;
    }
    String::from_utf8(bytes).ok()
}

fn unified(path: &str, old: &str, new: &str) -> String {
    let path = chaperone_staging::diff::printable(path, MAX_LINE);
    let diff = TextDiff::from_lines(old, new);
    let whole =
        diff.unified_diff().context_radius(3).header(&format!("a/{path}"), &format!("b/{path}")).to_string();
    let mut shown: String = whole
        .lines()
        .take(MAX_LINES)
        .map(|l| chaperone_staging::diff::printable(l, MAX_LINE) + "\n")
        .collect();
    let more = whole.lines().count().saturating_sub(MAX_LINES);
    if more > 0 {
        shown.push_str(&format!("… {more} more lines\n"));
    }
    shown
}

type Cells = std::collections::BTreeMap<(String, String), String>;

fn book(file: Option<&File>) -> Option<Cells> {
    let Some(mut file) = file else { return Some(Cells::new()) };
    file.rewind().ok()?;
    let mut head = [0u8; 4];
    let n = file.read(&mut head).ok()?;
    if n == 0 || !chaperone_inspect::workbook::is_xlsx(&head) {
        return None;
    }
    file.rewind().ok()?;
    let mut all = Cells::new();
    let seen = cells(&mut file, &Limits::default()).ok()?;
    for cell in seen {
        let shown = if cell.formula.as_deref().unwrap_or_default().is_empty() {
            cell.value
        } else {
            format!("={}", cell.formula.unwrap_or_default())
        };
        all.insert((cell.sheet, cell.cell), shown);
    }
    Some(all)
}

fn cell_by_cell(old: &Cells, new: &Cells) -> String {
    let mut shown = String::new();
    let places: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let changed: Vec<_> = places.into_iter().filter(|p| old.get(*p) != new.get(*p)).collect();
    for place in changed.iter().take(MAX_LINES) {
        let side = |cells: &Cells| {
            cells.get(*place).map_or_else(|| "∅".to_owned(), |v| chaperone_staging::diff::printable(v, 80))
        };
        let at = chaperone_staging::diff::printable(&format!("{}!{}", place.0, place.1), 80);
        shown.push_str(&format!("  {at}: {} → {}\n", side(old), side(new)));
    }
    if changed.len() > MAX_LINES {
        shown.push_str(&format!("  … {} more cells\n", changed.len() - MAX_LINES));
    }
    shown
}
