//! What a staged change does to a file, for the user: a unified diff for text, cell by cell for workbooks, sizes
//! for the rest. Bounded in size and time, and safe to print; whatever is left out leaves a mark.

mod shown;
mod workbook;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek};
use std::time::{Duration, Instant};

use chaperone_inspect::document::{Lines, may_have_lines};
use chaperone_pipeline::inspection::Restored;
use chaperone_protocol::reply::LineCounts;
use chaperone_protocol::{Failure, counted, native};
use chaperone_staging::printable;
use chaperone_staging::{Change, Kind, Op};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use similar::{DiffOp, TextDiff};

use crate::mount::LiveMount;
pub use shown::Difference;
use shown::{MAX_LINE, one_line};

/// Largest content that is looked into.
pub const MAX_BYTES: u64 = 16 << 20;
/// Largest text that is compared line by line, each side.
const MAX_TEXT: u64 = 4 << 20;
/// Time for one comparison. What is not told apart by then is too different to be read as a difference.
const MAX_TIME: Duration = Duration::from_millis(300);
/// Time for all comparisons of one look; when it is used up, each has only [`LEAST_TIME`].
const ALL_TIME: Duration = Duration::from_secs(5);
const LEAST_TIME: Duration = Duration::from_millis(10);

/// The time that is left to the comparisons of one look.
#[derive(Debug)]
pub struct Allowance(Duration);

impl Default for Allowance {
    fn default() -> Self {
        Self(ALL_TIME)
    }
}

impl Allowance {
    fn one(&self) -> Duration {
        self.0.clamp(LEAST_TIME, MAX_TIME)
    }

    fn spend(&mut self, time: Duration) {
        self.0 = self.0.saturating_sub(time);
    }
}
/// Bytes of one diff that are shown.
const MAX_SHOWN: usize = 256 << 10;
/// Bytes by which a document is known.
const HEAD: u64 = 8;
/// One byte in so many that is no text makes it a binary.
const BINARY: usize = 5;

/// The difference. `new` is the new content, where it is small enough, and its size.
#[must_use]
pub fn of(
    mount: &LiveMount,
    change: &Change,
    (new, size): (Option<&File>, u64),
    lines: &dyn Fn(&File) -> Option<Lines>,
    allowance: &mut Allowance,
) -> Difference {
    match (change.op, change.kind) {
        (Op::Rename, _) if change.blob.is_none() => {
            let over = change.replaces.map(|there| match there.kind() {
                Some(Kind::File) => format!(", over the {} there", counted(there.size, "byte")),
                _ => ", over what stands there".to_owned(),
            });
            let over = over.unwrap_or_default();
            return Difference::whole(format!("  moved, {} as before{over}\n", counted(change.size, "byte")));
        }
        (Op::Modify, Kind::File) if change.blob.is_none() => {
            return Difference::whole("  the content as it was\n".to_owned());
        }
        (_, Kind::Dir) => return Difference::whole(String::new()),
        (Op::Create | Op::Modify, Kind::Symlink) => return Difference::whole(String::new()),
        _ => {}
    }
    if let Some(there) = change.replaces.filter(|_| change.op == Op::Rename) {
        let over = match there.kind() {
            Some(Kind::File) => format!("  over the {} there, which go\n", counted(there.size, "byte")),
            _ => "  over what stands there, which goes\n".to_owned(),
        };
        let mut shown =
            of(mount, &Change { replaces: None, ..change.clone() }, (new, size), lines, allowance);
        shown.text.insert_str(0, &over);
        return shown;
    }
    let old = if change.op == Op::Create { None } else { open_old(mount, change) };
    let old_size = old.as_ref().and_then(|f| f.metadata().ok()).map(|m| m.len());
    let sizes = || {
        let shown = |size: Option<u64>| size.map_or_else(|| "nothing".to_owned(), |n| counted(n, "byte"));
        format!("{} → {}", shown(old_size), shown(change.blob.is_some().then_some(size)))
    };
    if old_size.is_some_and(|n| n > MAX_BYTES) || change.blob.is_some() && new.is_none() {
        let text = format!("  too large to compare: {}\n", sizes());
        return if change.blob.is_some() { Difference::cut(text) } else { Difference::whole(text) };
    }
    if let Some(difference) = workbook::compared(old.as_ref(), new, &sizes) {
        return difference;
    }
    if let (Some(before), Some(now)) = (document(old.as_ref(), lines), document(new, lines)) {
        return of_document(&change.path, (&before, &now), &sizes(), allowance);
    }
    match (text(old.as_ref()), text(new)) {
        (Ok(old), Ok(new)) => unified(&change.path, &old, &new, allowance),
        (Err(Not::Text), _) | (_, Err(Not::Text)) => Difference::whole(format!("  binary: {}\n", sizes())),
        _ if change.blob.is_none() => Difference::whole(format!("  too large to compare: {}\n", sizes())),
        _ => Difference::cut(format!("  too large to compare: {}\n", sizes())),
    }
}

/// The content to compare, with the user's own values where the agent kept their placeholders, and what is to be said of the
/// others.
pub fn with_values<'f>(
    back: &'f Result<Restored, Failure>,
    staged: Option<&'f File>,
) -> (Option<&'f File>, String) {
    match back {
        Err(failure) => (staged, format!("  {}\n", failure.message)),
        Ok(Restored { file, report }) => {
            let lost = report.foreign + report.damaged;
            let line = report.line.map(|line| format!(", the first in line {line}")).unwrap_or_default();
            let note = match lost {
                0 => String::new(),
                n => format!("  {n} placeholders stand for nothing here and stay as they are{line}\n"),
            };
            (file.as_deref().map(|held| &**held).or(staged), note)
        }
    }
}

fn open_old(mount: &LiveMount, change: &Change) -> Option<File> {
    let path = change.from.as_deref().unwrap_or(&change.path);
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::openat2(&*mount.root.get().ok()?, &*native(path), flags, Mode::empty(), beneath)
        .ok()
        .map(File::from)
}

/// The lines of a document; of an absent file none, and `None` of what is no document.
fn document(file: Option<&File>, lines: &dyn Fn(&File) -> Option<Lines>) -> Option<Lines> {
    let Some(mut file) = file else { return Some(Lines::default()) };
    let mut head = Vec::new();
    file.rewind().and_then(|()| file.take(HEAD).read_to_end(&mut head)).ok()?;
    if may_have_lines(&head) { lines(file) } else { None }
}

/// What a document says, and the names of whatever else of it is not as it was.
fn of_document(
    path: &str,
    (before, now): (&Lines, &Lines),
    sizes: &str,
    allowance: &mut Allowance,
) -> Difference {
    let names: BTreeSet<&String> = before.rest.keys().chain(now.rest.keys()).collect();
    let rest = names.into_iter().filter(|name| before.rest.get(*name) != now.rest.get(*name));
    let rest: Vec<String> = rest.map(|name| printable(name, 120)).collect();
    // Of a new one everything is new.
    let also = match rest.is_empty() || before.rest.is_empty() || now.rest.is_empty() {
        true => String::new(),
        false => format!("  also not as it was: {}\n", rest.join("; ")),
    };
    if before.text == now.text {
        return Difference::whole(format!("  {}; its text is as it was\n{also}", sizes));
    }
    let mut shown = unified(path, &before.text, &now.text, allowance);
    shown.text.insert_str(0, &format!("  {sizes}; what it says:\n"));
    shown.text.push_str(&also);
    shown
}

/// Why content is not compared line by line.
enum Not {
    Small,
    Text,
}

/// The text of a file, with what is no text in it as escapes; an absent file is empty.
fn text(file: Option<&File>) -> Result<String, Not> {
    let Some(mut file) = file else { return Ok(String::new()) };
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.take(MAX_TEXT + 1).read_to_end(&mut bytes)).map_err(|_| Not::Text)?;
    if bytes.len() as u64 > MAX_TEXT {
        return Err(Not::Small);
    }
    let mut text = String::with_capacity(bytes.len());
    let mut odd = 0;
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        odd += chunk.invalid().len() + chunk.valid().matches('\0').count();
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    if odd * BINARY > bytes.len() { Err(Not::Text) } else { Ok(text) }
}

fn unified<'a>(path: &str, old: &'a str, new: &'a str, allowance: &mut Allowance) -> Difference {
    let (begun, time) = (Instant::now(), allowance.one());
    // What reads a line ends it here: a lone carriage return is a character of it.
    let of = |text: &'a str| text.split_inclusive('\n').collect::<Vec<&'a str>>();
    let (of_old, of_new) = (of(old), of(new));
    let diff = TextDiff::configure().deadline(begun + time).diff_slices(&of_old, &of_new);
    let took = begun.elapsed();
    allowance.spend(took);
    // What was not told apart in time is given as removed and added whole.
    let mut shown = if took >= time {
        let count = |text: &str| counted(text.lines().count(), "line");
        format!("  too different to compare: {} → {}\n", count(old), count(new))
    } else {
        let path = printable(path, MAX_LINE);
        format!("--- a/{path}\n+++ b/{path}\n")
    };
    let lines = lines_of(diff.ops());
    let all = usize::try_from(lines.added + lines.removed).unwrap_or(usize::MAX);
    // Where every line ends as Windows ends them, each saying so says nothing.
    let windows = |text: &str| text.split_inclusive('\n').all(|line| line.ends_with("\r\n"));
    let ends_alike = windows(old) && windows(new);
    let (mut seen, mut whole) = (0, true);
    for hunk in diff.unified_diff().context_radius(3).iter_hunks() {
        shown.push_str(&format!("{}\n", hunk.header()));
        for line in hunk.iter_changes() {
            seen += usize::from(line.tag() != similar::ChangeTag::Equal);
            let content = line.value().strip_suffix('\n').unwrap_or(line.value());
            let content = if ends_alike { content.strip_suffix('\r').unwrap_or(content) } else { content };
            whole &= content.len() <= MAX_LINE || content.chars().nth(MAX_LINE).is_none();
            shown.push_str(&format!("{}{}\n", line.tag(), one_line(content)));
            let more = all.saturating_sub(seen);
            if shown.len() > MAX_SHOWN && more > 0 {
                let are = if more == 1 { "is" } else { "are" };
                let more = counted(more, "more changed line");
                shown.push_str(&format!("… {more} {are} not shown\n"));
                return Difference { lines: Some(lines), ..Difference::cut(shown) };
            }
        }
    }
    Difference { text: shown, whole, lines: Some(lines) }
}

fn lines_of(ops: &[DiffOp]) -> LineCounts {
    let changed = || ops.iter().filter(|op| !matches!(op, DiffOp::Equal { .. }));
    LineCounts {
        added: changed().map(|op| op.new_range().len() as u64).sum(),
        removed: changed().map(|op| op.old_range().len() as u64).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, bytes).unwrap();
        file
    }

    fn of_texts(old: &[u8], new: &[u8]) -> String {
        match (text(Some(&file(old))), text(Some(&file(new)))) {
            (Ok(old), Ok(new)) => unified("tool.py", &old, &new, &mut Allowance::default()).text,
            _ => "binary".to_owned(),
        }
    }

    #[test]
    fn tabs_and_the_line_ends_of_windows_stand_as_they_are() {
        let shown = of_texts(b"a:\r\n\tcc\r\n", b"a:\r\n\tcc -O2\r\n");
        assert!(shown.contains("+\tcc -O2\n") && !shown.contains("\\u{"), "{shown}");
        // One that comes among others is shown.
        assert!(of_texts(b"a\n", b"a\r\n").contains("+a\\u{d}\n"));
        // To a shell this is one line, and no comment.
        let shown = of_texts(b"a #\r\n", b"a #\r\necho b\r# c; evil #\r\n");
        assert!(shown.contains("+echo b\\u{d}# c; evil #\n"), "{shown}");
    }

    #[test]
    fn nothing_in_a_text_hides_what_else_it_says() {
        let blanks = format!("x = 1{}; evil()\n", " ".repeat(450));
        let tabs = format!("x = 1{}; evil()\n", "\t".repeat(450));
        let long = format!("x = '{}'\nevil()\n", "a".repeat(5_000));
        let many = format!("{}evil()\n", "x = 1\n".repeat(1_000));
        let cases: [&[u8]; 6] = [
            blanks.as_bytes(),
            tabs.as_bytes(),
            long.as_bytes(),
            many.as_bytes(),
            b"# one NUL \0 in a comment\nevil()\n",
            b"# caf\xe9 in Latin-1\nevil()\n",
        ];
        for new in cases {
            let shown = of_texts(b"", new);
            assert!(shown.contains("evil()"), "{shown}");
        }
        assert!(of_texts(b"", long.as_bytes()).contains("⟨3006 more characters⟩"));
        assert!(of_texts(b"", blanks.as_bytes()).contains("⟨410 more blanks⟩; evil()"));
        assert_eq!(of_texts(b"", &[0xff; 100]), "binary");
    }

    #[test]
    fn what_is_too_much_is_marked() {
        let many = "a line of some length, and its number\n".repeat(50_000);
        let shown = of_texts(b"", many.as_bytes());
        assert!(shown.len() < 2 * MAX_SHOWN);
        let (_, last) = shown.trim_end().rsplit_once('\n').unwrap();
        assert!(last.starts_with("… ") && last.ends_with(" more changed lines are not shown"), "{last}");
    }

    #[test]
    fn lines_are_counted_also_of_what_is_cut() {
        let counted = |old: &str, new: &str| {
            let lines = unified("a", old, new, &mut Allowance::default()).lines.unwrap();
            (lines.added, lines.removed)
        };
        assert_eq!(counted("a\nb\nc\n", "a\nx\ny\nc\n"), (2, 1));
        assert_eq!(counted("", &"a line of some length, and its number\n".repeat(50_000)), (50_000, 0));
        assert_eq!(counted("a\n", ""), (0, 1));
    }

    #[test]
    fn what_was_cut_was_not_shown() {
        let is_whole = |new: &str| unified("a", "", new, &mut Allowance::default()).whole;
        assert!(is_whole("a line\n") && is_whole(&"a line\n".repeat(1_000)));
        assert!(!is_whole(&"a line of some length, and its number\n".repeat(50_000)));
        assert!(!is_whole(&format!("{}evil()\n", "a".repeat(5_000))));
    }

    #[test]
    fn many_texts_of_which_every_line_changed_share_their_time() {
        let lines = |by: u64| {
            (0..6_000u64).map(|n| format!("{:020}\n", n.wrapping_mul(by) % 7919)).collect::<String>()
        };
        let (old, new) = (lines(7), lines(104_729));
        let mut allowance = Allowance(Duration::from_millis(50));
        let begun = Instant::now();
        for _ in 0..20 {
            assert!(unified("a", &old, &new, &mut allowance).text.contains("@@"));
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "took {:?}", begun.elapsed());
        assert_eq!(allowance.one(), LEAST_TIME);
    }

    #[test]
    fn a_text_of_which_every_line_changed_takes_no_longer_than_its_time() {
        let lines = |by: u64| {
            (0..40_000u64).map(|n| format!("{:020}\n", n.wrapping_mul(by) % 7919)).collect::<String>()
        };
        for (old, new) in [(lines(7), lines(104_729)), (lines(3), lines(5).chars().rev().collect())] {
            let begun = Instant::now();
            let shown = of_texts(old.as_bytes(), new.as_bytes());
            assert!(begun.elapsed() < Duration::from_secs(5), "took {:?}", begun.elapsed());
            assert!(
                shown.contains("40000 lines") || shown.contains("more changed lines"),
                "{}",
                &shown[..200]
            );
        }
    }
}
