//! Compiled code: what its tool makes anew from the source beside it, and what stands for itself.

use super::pack::PACK;
use super::place::like;

/// Flags of a `.pyc` (PEP 552): it is held against a hash, and the source is looked at.
const PYC_HASH: u32 = 1;
const PYC_CHECKED: u32 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compiled {
    /// The tool makes it anew from its source, and nobody can tell by its content whether it is what the source says.
    Cache,
    /// It runs as it is.
    Code,
}

impl Compiled {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Code => "code",
        }
    }
}

/// What compiled code a file is, by its name and its first bytes; `there` says whether a file is in the directory, or will be.
#[must_use]
pub fn compiled(path: &str, head: &[u8], there: &dyn Fn(&str) -> bool) -> Option<Compiled> {
    let (folder, name) = path.rsplit_once('/').map_or(("", path), |(folder, name)| (folder, name));
    let lower = name.to_lowercase();
    let after_dot = |(at, _): (usize, &str)| lower.get(at + 1..);
    let by_name =
        lower.match_indices('.').filter(|(at, _)| *at > 0).filter_map(after_dot).find_map(|ending| {
            PACK.compiled.iter().find(|group| group.endings.iter().any(|known| like(known, ending)))
        });
    let by_content = content_is_compiled(head);
    let Some(group) = by_name else { return by_content.then_some(Compiled::Code) };
    if is_unchecked_pyc(head) || group.sources.is_empty() {
        return Some(Compiled::Code);
    }
    let stem = name.split('.').next().unwrap_or_default();
    // Python keeps them in a directory of its own; a module in its old place is imported without any source.
    let (folder, needs_cache) =
        match folder.rsplit_once('/').map_or(("", folder), |(above, last)| (above, last)) {
            (above, "__pycache__") => (above, false),
            _ => (folder, group.sources.iter().any(|s| s == "py")),
        };
    let at = |ending: &String| {
        let source = format!("{stem}.{ending}");
        there(&if folder.is_empty() { source } else { format!("{folder}/{source}") })
    };
    let has_source = !needs_cache && group.sources.iter().any(at);
    Some(if has_source { Compiled::Cache } else { Compiled::Code })
}

/// A `.pyc` that Python runs without a look at its source.
fn is_unchecked_pyc(head: &[u8]) -> bool {
    let flags = match head {
        [_, _, b'\r', b'\n', a, b, c, d, ..] => u32::from_le_bytes([*a, *b, *c, *d]),
        _ => return false,
    };
    flags & PYC_HASH != 0 && flags & PYC_CHECKED == 0 || flags & !(PYC_HASH | PYC_CHECKED) != 0
}

fn content_is_compiled(head: &[u8]) -> bool {
    const MAGIC: &[&[u8]] = &[
        b"\x7fELF",
        b"\xfe\xed\xfa\xce",
        b"\xfe\xed\xfa\xcf",
        b"\xce\xfa\xed\xfe",
        b"\xcf\xfa\xed\xfe",
        b"\xca\xfe\xba\xbe",
        b"\x1bLua",
        b"\x1bLJ",
        b";ELC",
        b"dex\n",
        b"BC\xc0\xde",
        b"YARB",
        // Headers that gcc and clang read in place of the source.
        b"gpch",
        b"CPCH",
        b"!<arch>\n",
        b"!<thin>\n",
        b"\0asm",
        b"Caml1999",
        b"\x01\xfa\xce",
        b"# FASL",
        b"\x90\xab\xcd\xef",
        b"\xc6\x1f\xbc\x03\xc1\x03\x19\x1f",
        b"\xfbjli",
        b"\x07\x06\x05\x04",
        b"\xac\xed\0\x05",
        b"RDX2\n",
        b"RDX3\n",
        b"RDA3\n",
    ];
    let is_pe = head.starts_with(b"MZ") && head.contains(&0);
    let is_beam = head.starts_with(b"FOR1") && head.get(8..12) == Some(b"BEAM");
    // The third and fourth byte of every Python's number; the first two are the version.
    let is_pyc = matches!(head, [_, 0x0c..=0x0e, b'\r', b'\n', ..]);
    // Objects that are built by calls which the file names.
    let is_pickle = matches!(head, [0x80, 2..=5, ..]);
    let is_of_objects = head.starts_with(b"\x93NUMPY")
        && head.split(|b| *b == b'\n').next().is_some_and(|line| line.windows(2).any(|pair| pair == b"|O"));
    // An archive of such objects, or of a model with them, as the libraries write it: their names come first.
    let has = |part: &[u8]| head.windows(part.len()).any(|here| here == part);
    let is_packed =
        head.starts_with(b"PK\x03\x04") && (has(b"/data.pkl") || has(b"\x93NUMPY") && has(b"'descr': '|O"));
    let is_flash = matches!(head, [b'F' | b'C' | b'Z', b'W', b'S', 1..=31, ..]);
    is_pe
        || is_beam
        || is_pyc
        || is_pickle
        || is_of_objects
        || is_packed
        || is_flash
        || MAGIC.iter().any(|magic| head.starts_with(magic))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pyc(flags: u8) -> Vec<u8> {
        let mut bytes = vec![0xa7, 0x0d, b'\r', b'\n', flags, 0, 0, 0];
        bytes.resize(64, 0);
        bytes
    }

    #[test]
    fn bytecode_that_nobody_holds_against_a_source_is_code() {
        let there = |path: &str| path == "pkg/a.py" || path == "src/A.java" || path == "src/a.el";
        let of = |path: &str, head: &[u8]| compiled(path, head, &there);
        assert_eq!(of("pkg/__pycache__/a.cpython-312.pyc", &pyc(0)), Some(Compiled::Cache));
        assert_eq!(of("pkg/__pycache__/a.cpython-312.opt-1.pyc", &pyc(3)), Some(Compiled::Cache));
        assert_eq!(of("pkg/__pycache__/a.cpython-312.pyc", &pyc(1)), Some(Compiled::Code));
        assert_eq!(of("pkg/__pycache__/b.cpython-312.pyc", &pyc(0)), Some(Compiled::Code));
        assert_eq!(of("pkg/a.pyc", &pyc(0)), Some(Compiled::Code));
        assert_eq!(of("pkg/a.bin", &pyc(0)), Some(Compiled::Code));
        assert_eq!(of("src/a.elc", b";ELC"), Some(Compiled::Cache));
        // What a compiler was called to make, nobody makes anew: as an object file beside its source.
        for name in ["src/A.class", "src/A$B.class", "src/C.class"] {
            assert_eq!(of(name, b"\xca\xfe\xba\xbe"), Some(Compiled::Code), "{name}");
        }
        for (path, head) in [
            ("lib.JAR", &b"PK\x03\x04"[..]),
            ("libx.so.6", b"\x7fELF"),
            ("x.node", b"\x7fELF"),
            ("x.dat", b"\x7fELF"),
            ("x", b"MZ\x90\0"),
            ("x.luac", b"\x1bLua"),
            ("common.h.gch", b"x"),
            ("x", b"gpchC014"),
            ("x", b"\0asm\x01\0\0\0"),
            ("x.cmo", b"x"),
            ("x", b"Caml1999O033"),
            ("x.npy", b"\x93NUMPY\x01\0v\0{'descr': '|O', "),
            (".sconsign.dblite", b"x"),
            ("x", b"\x80\x04\x95"),
            ("x.rds", b"\x1f\x8b"),
            ("x", b"FWS\x0a"),
            ("model.bin", b"PK\x03\x04\x00\x00archive/data.pkl"),
            ("x.npz", b"PK\x03\x04\x00\x00a.npy\x93NUMPY\x01\0v\0{'descr': '|O', "),
            ("x.pkl.gz", b"\x1f\x8b"),
            ("data.joblib.z", b"\x78\x9c"),
        ] {
            assert_eq!(of(path, head), Some(Compiled::Code), "{path}");
        }
        for (path, head) in [
            ("a.py", &b"import os"[..]),
            ("so", b"x"),
            (".so", b"x"),
            ("MZ.txt", b"MZ is a text"),
            ("a.png", b"\x89PNG\r\n"),
            ("a.npy", b"\x93NUMPY\x01\0v\0{'descr': '<f8', "),
            ("FWS.txt", b"FWS is a word"),
            ("x.npz", b"PK\x03\x04\x00\x00a.npy\x93NUMPY\x01\0v\0{'descr': '<f8', "),
            ("a.zip", b"PK\x03\x04\x00\x00notes.txt"),
            ("pkl.md", b"x"),
        ] {
            assert_eq!(of(path, head), None, "{path}");
        }
    }
}
