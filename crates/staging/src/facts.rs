//! Plain facts about a change, for the policy to decide on.

use chaperone_names::without_meant_joiners;
use serde::{Deserialize, Serialize};

use crate::change::{Change, Kind, Op};

/// How much of the content [`facts`] wants to see.
pub const HEAD_BYTES: usize = 4096;
/// Longest interpreter line that is reported.
const SHEBANG_CHARACTERS: usize = 200;

/// Facts only; whether they matter is the policy's decision.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Somebody may execute the result.
    pub executable: bool,
    /// The interpreter line, without `#!`, safe to print.
    pub shebang: Option<String>,
    /// It could not be executed before and can be after.
    pub becomes_executable: bool,
    /// A name on the path starts with a dot.
    pub hidden: bool,
    /// What the content is by its first bytes: `xlsx`, `ole`, `zip`, `gzip`, `pdf`, `png`, `jpeg`, `elf`, `pe`,
    /// `wasm`, `script`, `text`, `empty`, `binary`, `none` (there is no content).
    pub type_by_magic: String,
    /// The extension promises something else than the content is.
    pub extension_mismatch: bool,
    /// The text of the symlink leads out of the tree.
    pub link_leaves_root: bool,
    /// The name holds control, bidirectional or invisible characters.
    pub deceptive_name: bool,
    /// Who may write it then and could not before: `group`, `other`.
    pub becomes_writable_by: Vec<String>,
    /// A file that nobody but its owner could read, and that others can read then.
    pub no_longer_private: bool,
    /// A file with a set-user-id or set-group-id bit that it did not have.
    pub sets_id: bool,
    /// The kind of what stands there now, where it is another.
    pub was: Option<Kind>,
    /// What stands there now is gone after it: see [`removes`].
    pub removes: bool,
}

/// Whether the content of a file of the user's is gone after the change: it is deleted, emptied, cut to a twentieth or less,
/// made a link, or something else is moved over it.
pub fn removes(change: &Change) -> bool {
    let was_file = change.base.is_some_and(|base| base.kind() != Some(Kind::Dir));
    match change.op {
        Op::Delete => change.kind != Kind::Dir,
        Op::Rename => change.replaces.is_some(),
        Op::Create | Op::Modify if change.kind == Kind::File => {
            let was = change.base.map_or(0, |base| base.size);
            change.blob.is_some() && was > 0 && change.size.saturating_mul(20) <= was
        }
        Op::Create | Op::Modify => was_file && change.base.and_then(|b| b.kind()) == Some(Kind::File),
    }
}

/// Facts about `change`, of whose new content `head` is the beginning (up to [`HEAD_BYTES`]).
pub fn facts(change: &Change, head: &[u8]) -> Facts {
    let executable = change.op != Op::Delete && change.kind == crate::Kind::File && change.mode & 0o111 != 0;
    let was_executable = change.base.is_some_and(|base| base.mode & 0o111 != 0);
    let has_content = change.kind == crate::Kind::File && change.op != Op::Delete;
    let type_by_magic = if has_content { type_by_magic(head) } else { "none" };
    Facts {
        executable,
        shebang: head.strip_prefix(b"#!").map(|rest| {
            let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
            crate::printable::printable(String::from_utf8_lossy(line).trim(), SHEBANG_CHARACTERS)
        }),
        becomes_executable: executable && !was_executable,
        hidden: change.path.split('/').any(|name| name.starts_with('.')),
        type_by_magic: type_by_magic.to_owned(),
        extension_mismatch: has_content && is_mismatch(&change.path, type_by_magic),
        link_leaves_root: change
            .target
            .as_deref()
            .is_some_and(|target| link_leaves_root(&change.path, target)),
        deceptive_name: is_deceptive_name(change),
        becomes_writable_by: newly_writable(change),
        no_longer_private: is_no_longer_private(change),
        sets_id: change.kind == Kind::File && new_bits(change) & 0o6000 != 0,
        was: change.base.and_then(|base| base.kind()).filter(|was| *was != change.kind),
        removes: removes(change),
    }
}

/// Whether a new name has characters that steer or are not seen and mean nothing where they stand, or looks like another one: blanks
/// around it are not seen. A name that is there already is the user's own.
fn is_deceptive_name(change: &Change) -> bool {
    let is_new = matches!(change.op, Op::Create | Op::Rename);
    let is_unseen = || without_meant_joiners(&change.path).chars().any(crate::printable::is_deceptive);
    is_new && (is_unseen() || change.path.split('/').any(|name| name.trim() != name))
}

fn is_no_longer_private(change: &Change) -> bool {
    let was_private =
        change.base.is_some_and(|base| base.kind() == Some(Kind::File) && base.mode & 0o077 == 0);
    was_private && change.op != Op::Delete && change.kind == Kind::File && change.mode & 0o044 != 0
}

/// Permission bits that what stands there now does not have.
fn new_bits(change: &Change) -> u32 {
    let gets_mode = change.op != Op::Delete && change.kind != Kind::Symlink;
    if gets_mode { change.mode & !change.base.map_or(0, |base| base.mode) } else { 0 }
}

fn newly_writable(change: &Change) -> Vec<String> {
    let bits = new_bits(change);
    [(0o020, "group"), (0o002, "other")]
        .iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|(_, who)| (*who).to_owned())
        .collect()
}

/// Whether a symlink at `path` with this text could lead out of the root: it is absolute or climbs too far.
pub fn link_leaves_root(path: &str, target: &str) -> bool {
    if target.starts_with('/') || target.is_empty() {
        return true;
    }
    let mut depth = path.split('/').count() - 1;
    let mut descended = false;
    for name in target.split('/') {
        match name {
            "" | "." => {}
            // `a/../..` climbs from where the link `a` leads to, which nobody knows here.
            ".." if descended || depth == 0 => return true,
            ".." => depth -= 1,
            _ => descended = true,
        }
    }
    false
}

fn type_by_magic(head: &[u8]) -> &'static str {
    const MAGIC: [(&[u8], &str); 12] = [
        (b"PK\x03\x04", "zip"),
        (b"PK\x05\x06", "zip"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "ole"),
        (b"\x1f\x8b", "gzip"),
        (b"%PDF-", "pdf"),
        (b"\x89PNG\r\n\x1a\n", "png"),
        (b"\xff\xd8\xff", "jpeg"),
        (b"\x7fELF", "elf"),
        (b"MZ", "pe"),
        (b"\0asm", "wasm"),
        (b"#!", "script"),
        (b"\xef\xbb\xbf#!", "script"),
    ];
    if head.is_empty() {
        return "empty";
    }
    let found = MAGIC.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, name)| *name);
    match found {
        Some("zip") if looks_like_xlsx(head) => "xlsx",
        Some("pe") if is_text(head) => "text",
        Some(name) => name,
        None if is_text(head) => "text",
        None => "binary",
    }
}

/// The first member's name of a workbook is in the first bytes of its archive.
fn looks_like_xlsx(head: &[u8]) -> bool {
    let holds = |name: &[u8]| head.windows(name.len()).any(|window| window == name);
    holds(b"xl/") || holds(b"[Content_Types].xml")
}

/// Text is UTF-8 (its last character may be cut) without NUL.
pub(crate) fn is_text(head: &[u8]) -> bool {
    let is_utf8 = match std::str::from_utf8(head) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    };
    is_utf8 && !head.contains(&0)
}

fn is_mismatch(path: &str, found: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let Some((_, extension)) = name.rsplit_once('.') else { return false };
    let allowed: &[&str] = match extension.to_ascii_lowercase().as_str() {
        "xlsx" | "xlsm" | "xltx" | "xltm" | "xlsb" => &["xlsx"],
        "zip" | "docx" | "pptx" | "odt" | "ods" | "odp" | "jar" | "epub" | "whl" => &["zip", "xlsx"],
        "xls" | "doc" | "ppt" => &["ole"],
        "gz" | "tgz" => &["gzip"],
        "pdf" => &["pdf"],
        "png" => &["png"],
        "jpg" | "jpeg" => &["jpeg"],
        "wasm" => &["wasm"],
        "csv" | "tsv" | "txt" | "md" | "json" | "toml" | "yaml" | "yml" | "xml" | "html" | "css" | "ini"
        | "log" => &["text", "empty"],
        _ => return false,
    };
    !allowed.contains(&found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_out_of_the_tree_is_told_from_one_inside() {
        for (path, target) in [
            ("a", "/etc/passwd"),
            ("a", ".."),
            ("d/a", "../../x"),
            ("d/a", "b/../../x"),
            ("d/a", "../../../etc"),
        ] {
            assert!(link_leaves_root(path, target), "{path} -> {target} was taken for a link inside");
        }
        for (path, target) in [("a", "b"), ("d/a", "../b"), ("d/e/a", "../../b"), ("a", "./b/c")] {
            assert!(!link_leaves_root(path, target), "{path} -> {target} was taken for a link outside");
        }
    }

    #[test]
    fn content_that_is_not_what_its_name_says_is_a_mismatch() {
        assert!(is_mismatch("a/report.csv", type_by_magic(b"\x7fELF\x02\x01")));
        assert!(is_mismatch("report.xlsx", type_by_magic(b"#!/bin/sh\n")));
        assert!(!is_mismatch("report.csv", type_by_magic("name;größe\n".as_bytes())));
        assert!(!is_mismatch("Makefile", type_by_magic(b"all:\n")));
    }

    #[test]
    fn a_name_that_looks_like_another_is_deceptive() {
        let is_one = |op, path: &str| is_deceptive_name(&Change::blank(path.to_owned(), op, Kind::File));
        for path in [
            "notes.txt ",
            " notes.txt",
            "d /a",
            "notes\u{3164}.txt",
            "no\u{2800}tes",
            "a\u{202e}b",
            "a\u{115f}",
        ] {
            assert!(is_one(Op::Create, path), "{path:?}");
        }
        for path in [".g\u{200c}it/x", "\u{1f469}\u{200d}", "\u{645}\u{200c}\u{202e}\u{645}"] {
            assert!(is_one(Op::Create, path), "{path:?}");
        }
        for path in [
            "notes of may.txt",
            "d/a b",
            "\u{1112}\u{1161}\u{11ab}.txt",
            "\u{1f469}\u{fe0f}",
            "\u{645}\u{6cc}\u{200c}\u{62e}\u{648}\u{627}\u{647}\u{645}.txt",
            "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}.png",
        ] {
            assert!(!is_one(Op::Create, path), "{path:?}");
        }
        assert!(!is_one(Op::Modify, "the user's own "));
    }

    fn a_change(
        op: Op,
        kind: Kind,
        mode: u32,
        (was, base_mode, base_size): (Kind, u32, u64),
        size: u64,
    ) -> Change {
        let kind_bits = match was {
            Kind::File => 0o100_000,
            Kind::Dir => 0o040_000,
            Kind::Symlink => 0o120_000,
        };
        let base = crate::BaseVersion {
            dev: 1,
            ino: 1,
            size: base_size,
            mtime_ns: 0,
            ctime_ns: 0,
            mode: kind_bits | base_mode,
            nlink: 1,
        };
        Change {
            path: "a".into(),
            op,
            from: None,
            kind,
            blob: (kind == Kind::File && op != Op::Delete).then(|| "blob".into()),
            target: None,
            base: Some(base),
            replaces: None,
            mode,
            mtime_ns: 0,
            size,
            same_as: None,
            origin: None,
        }
    }

    #[test]
    fn a_mode_that_lets_more_write_is_told_and_an_ordinary_one_is_not() {
        let told = |mode, base| {
            let facts = facts(&a_change(Op::Modify, Kind::File, mode, (Kind::File, base, 9), 9), b"");
            (facts.becomes_writable_by.join("+"), facts.sets_id)
        };
        assert_eq!(told(0o666, 0o600), ("group+other".to_owned(), false));
        assert_eq!(told(0o664, 0o644), ("group".to_owned(), false));
        assert_eq!(told(0o646, 0o644), ("other".to_owned(), false));
        assert_eq!(told(0o4755, 0o755), (String::new(), true));
        assert_eq!(told(0o2755, 0o755), (String::new(), true));
        for (mode, base) in [(0o600, 0o644), (0o664, 0o664), (0o755, 0o644), (0o4755, 0o4755), (0o666, 0o666)]
        {
            assert_eq!(told(mode, base), (String::new(), false), "{mode:o} after {base:o}");
        }
        let opened = |mode, base| {
            facts(&a_change(Op::Modify, Kind::File, mode, (Kind::File, base, 9), 9), b"").no_longer_private
        };
        assert!(opened(0o644, 0o600) && opened(0o640, 0o700) && opened(0o604, 0o600));
        assert!(!opened(0o600, 0o600) && !opened(0o644, 0o640) && !opened(0o700, 0o600));
        let folder = facts(&a_change(Op::Modify, Kind::Dir, 0o777, (Kind::Dir, 0o755, 0), 0), b"");
        assert_eq!(folder.becomes_writable_by, ["group", "other"]);
    }

    #[test]
    fn what_takes_a_file_away_is_a_removal_however_it_does_it() {
        let file = (Kind::File, 0o644, 1000);
        let mut moved_over = a_change(Op::Rename, Kind::File, 0o644, file, 1000);
        moved_over.replaces = moved_over.base;
        for removal in [
            a_change(Op::Delete, Kind::File, 0, file, 0),
            a_change(Op::Modify, Kind::File, 0o644, file, 0),
            a_change(Op::Modify, Kind::File, 0o644, file, 50),
            a_change(Op::Modify, Kind::Symlink, 0o777, file, 0),
            moved_over,
        ] {
            assert!(removes(&removal), "{removal:?}");
        }
        for other in [
            a_change(Op::Delete, Kind::Dir, 0, (Kind::Dir, 0o755, 0), 0),
            a_change(Op::Modify, Kind::File, 0o644, file, 51),
            a_change(Op::Modify, Kind::File, 0o644, (Kind::File, 0o644, 0), 0),
            a_change(Op::Rename, Kind::File, 0o644, file, 1000),
            Change { blob: None, ..a_change(Op::Modify, Kind::File, 0o600, file, 0) },
        ] {
            assert!(!removes(&other), "{other:?}");
        }
    }
}
