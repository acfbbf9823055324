//! As much of ELF (elf(5)) as it takes to run this program elsewhere.

/// How many bytes of a program's file are ever loaded; what follows is for debuggers. `None` when it is no 64-bit program of this byte
/// order.
pub(super) fn loaded(file: &[u8]) -> Option<usize> {
    let programs = headers(file)?;
    let ends = programs.map(|header| {
        let (offset, size) = (number(header, 8, 8)?, number(header, 32, 8)?);
        usize::try_from(offset.checked_add(size)?).ok()
    });
    let end = ends.collect::<Option<Vec<usize>>>()?.into_iter().max()?;
    (end <= file.len()).then_some(end)
}

/// The loader that a program names; `None` for a program that needs none.
pub(super) fn loader(file: &[u8]) -> Option<&[u8]> {
    const INTERPRETER: u64 = 3;
    let header = headers(file)?.find(|header| number(header, 0, 4) == Some(INTERPRETER))?;
    let (offset, size) = (number(header, 8, 8)?, number(header, 32, 8)?);
    let text = file.get(usize::try_from(offset).ok()?..)?.get(..usize::try_from(size).ok()?)?;
    text.split(|byte| *byte == 0).next()
}

/// Its program headers.
fn headers(file: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    const CLASS_64: u8 = 2;
    if !file.starts_with(b"\x7fELF") || file.get(4) != Some(&CLASS_64) {
        return None;
    }
    let at = usize::try_from(number(file, 32, 8)?).ok()?;
    let (size, count) =
        (usize::try_from(number(file, 54, 2)?).ok()?, usize::try_from(number(file, 56, 2)?).ok()?);
    let table = file.get(at..)?.get(..size.checked_mul(count)?)?;
    (size > 0).then(|| table.chunks_exact(size))
}

fn number(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let mut value = [0u8; 8];
    value.get_mut(..size)?.copy_from_slice(bytes.get(at..)?.get(..size)?);
    Some(u64::from_le_bytes(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_is_shorter_without_what_debuggers_read() {
        let file = std::fs::read("/proc/self/exe").unwrap();
        let end = loaded(&file).unwrap();
        assert!(end > 4096 && end <= file.len(), "{end} of {}", file.len());
        assert_eq!(loader(&file).map(|at| at.first() == Some(&b'/')), Some(true));
    }

    #[test]
    fn what_is_no_program_is_none() {
        let mut file = std::fs::read("/proc/self/exe").unwrap();
        file.truncate(1 << 16);
        for length in (0..file.len()).step_by(61) {
            assert_eq!(loaded(file.get(..length).unwrap()), None);
        }
        for place in 0..64 {
            let mut changed = file.clone();
            changed[place] = 0xff;
            loaded(&changed);
            loader(&changed);
        }
        assert_eq!(loaded(b"#!/bin/sh\n"), None);
    }
}
