//! Declarations of a document type. One that only names its type is harmless: nothing here fetches what it names, and a reference to an
//! entity that would stand there is unknown. One that declares something itself can make any text of it.

/// It names a type and declares nothing itself.
pub(crate) fn names_only(declaration: &[u8]) -> bool {
    !declaration.contains(&b'[')
}

/// It names a type in words or by a file beside it, so that whoever opens the document has nothing of elsewhere to fetch either. A public
/// identifier (`-//OpenOffice.org//DTD Manifest 1.0//EN`) is words.
pub(crate) fn names_nothing_elsewhere(declaration: &[u8]) -> bool {
    let has = |what: &[u8]| declaration.windows(what.len()).any(|there| there == what);
    names_only(declaration) && !has(b"://") && !has(b"\"//") && !has(b"'//")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_declares_something_or_leads_elsewhere_is_told_apart() {
        let manifest: &[u8] =
            b"manifest:manifest PUBLIC \"-//OpenOffice.org//DTD Manifest 1.0//EN\" \"Manifest.dtd\"";
        assert!(names_only(manifest) && names_nothing_elsewhere(manifest));
        for elsewhere in [
            &b"a SYSTEM 'https://evil.example/a.dtd'"[..],
            b"a SYSTEM \"//evil.example/a.dtd\"",
            b"a PUBLIC '-//A//B//EN' 'file:///etc/passwd'",
        ] {
            assert!(names_only(elsewhere) && !names_nothing_elsewhere(elsewhere));
        }
        assert!(!names_only(b"a [<!ENTITY b 'c'>]") && !names_nothing_elsewhere(b"a SYSTEM 'a.dtd' [\n]"));
    }
}
