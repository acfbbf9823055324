//! A difference as it is printed.

use chaperone_protocol::counted;
use chaperone_protocol::reply::LineCounts;
use chaperone_staging::printable;

/// Longest line that is shown, in characters.
pub(super) const MAX_LINE: usize = 2_000;
/// Blanks in a row that are shown: more would push what follows out of sight.
const MAX_BLANKS: usize = 40;

/// A difference as text, ending in a newline, and whether all of it is there: what was cut, or not compared, nobody was shown.
#[derive(Debug)]
pub struct Difference {
    pub text: String,
    pub whole: bool,
    /// Of a text.
    pub lines: Option<LineCounts>,
}

impl Difference {
    pub(super) fn whole(text: String) -> Self {
        Self { text, whole: true, lines: None }
    }

    pub(super) fn cut(text: String) -> Self {
        Self { text, whole: false, lines: None }
    }
}

/// A line as it is shown. What is cut, and blanks that would push the rest out of sight, leave a mark.
pub(super) fn one_line(line: &str) -> String {
    let mut short = String::new();
    let mut blanks = 0;
    let skipped = |blanks: usize, short: &mut String| {
        if blanks > MAX_BLANKS {
            short.push_str(&format!("⟨{}⟩", counted(blanks - MAX_BLANKS, "more blank")));
        }
    };
    for c in line.chars() {
        if c == ' ' || c == '\t' {
            blanks += 1;
            if blanks <= MAX_BLANKS {
                short.push(c);
            }
            continue;
        }
        skipped(blanks, &mut short);
        blanks = 0;
        short.push(c);
    }
    skipped(blanks, &mut short);
    let length = short.chars().count();
    if length <= MAX_LINE {
        return with_tabs(&short);
    }
    let kept: String = short.chars().take(MAX_LINE).collect();
    format!("{}⟨{}⟩", with_tabs(&kept), counted(length - MAX_LINE, "more character"))
}

/// A tab moves no further than blanks do, and Makefiles are full of them.
fn with_tabs(line: &str) -> String {
    line.split('\t').map(|part| printable(part, MAX_LINE)).collect::<Vec<_>>().join("\t")
}
