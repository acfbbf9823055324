//! Private keys without armour, by how their files begin: DER, OpenPGP, GnuPG, KeePass. A name says little: `.key` is a document
//! of Keynote as well, and `.gpg` the public keys of a distribution.

/// How files of private keys begin that have a mark of their own.
const MARKS: [&[u8]; 7] = [
    b"(11:private-key",
    b"(21:protected-private-key",
    b"(20:shadowed-private-key",
    b"SSH PRIVATE KEY FILE FORMAT 1.1\n",
    b"PuTTY-User-Key-File-",
    b"\x03\xd9\xa2\x9a\x67\xfb\x4b\xb5",
    b"\x03\xd9\xa2\x9a\x65\xfb\x4b\xb5",
];
/// The line of a key in a file of GnuPG's `private-keys-v1.d`.
const LINES: [&[u8]; 2] = [b"Key: (private-key", b"Key: (protected-private-key"];
/// Lines that such a file may begin with: when it was made, a label, comments.
const BEFORE: usize = 64;
/// Public-key algorithms of OpenPGP (RFC 9580 9.1).
const ALGORITHMS: [u8; 12] = [1, 2, 3, 16, 17, 18, 19, 22, 25, 26, 27, 28];

/// Whether `head` begins a private key, of a file of `length` bytes.
pub(crate) fn begins(head: &[u8], length: u64) -> bool {
    let is_marked = MARKS.iter().any(|mark| head.starts_with(mark));
    is_marked || gnupg(head) || openpgp(head) || der(head, length).is_some()
}

/// Lines of a name and a value each, of which one is the key.
fn gnupg(head: &[u8]) -> bool {
    let is_key = |line: &[u8]| LINES.iter().any(|begin| line.starts_with(begin));
    let mut lines = head.split(|b| *b == b'\n').take(BEFORE);
    lines.find(|line| is_key(line) || !is_field(line)).is_some_and(is_key)
}

/// A name and a value, more of the value before, a comment, or nothing.
fn is_field(line: &[u8]) -> bool {
    let is_of_name = |b: &u8| b.is_ascii_alphanumeric() || *b == b'-';
    match line.iter().position(|b| !is_of_name(b)) {
        Some(0) => matches!(line.first(), Some(b' ' | b'\t' | b'#')),
        Some(end) => line.get(end) == Some(&b':'),
        None => line.is_empty(),
    }
}

/// A secret key packet: its tag, its length, a version, a time, and an algorithm that exists.
fn openpgp(head: &[u8]) -> bool {
    let body = match head {
        [0x94, _, rest @ ..] | [0x95, _, _, rest @ ..] | [0x96, _, _, _, _, rest @ ..] => rest,
        [0xc5, 255, _, _, _, _, rest @ ..] => rest,
        [0xc5, 192..=223, _, rest @ ..] => rest,
        [0xc5, 0..=191, rest @ ..] => rest,
        _ => return false,
    };
    matches!(body, [4, _, _, _, _, algorithm, ..] if ALGORITHMS.contains(algorithm))
        || matches!(body, [5 | 6, _, _, _, _, algorithm, 0, ..] if ALGORITHMS.contains(algorithm))
}

/// PKCS#1, PKCS#8 (encrypted or not), SEC 1 and PKCS#12, as long as the file.
fn der(head: &[u8], length: u64) -> Option<()> {
    let (body, size) = element(head, 0x30)?;
    let before = (head.len() - body.len()) as u64;
    if before + size > length || before + size + 16 < length {
        return None;
    }
    // Encrypted: an algorithm for passwords first (PKCS#5 and PKCS#12).
    if let Some((algorithm, _)) = element(body, 0x30) {
        let (id, _) = element(algorithm, 0x06)?;
        let by_password = [&b"\x2a\x86\x48\x86\xf7\x0d\x01\x05"[..], b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01"];
        return by_password.iter().any(|known| id.starts_with(known)).then_some(());
    }
    let [0x02, 0x01, version, rest @ ..] = body else { return None };
    let key = match (version, rest.first()?) {
        // PKCS#8: an algorithm and a string. PKCS#12: signed or plain data.
        (0 | 1 | 3, 0x30) => element(element(rest, 0x30)?.0, 0x06).is_some(),
        // PKCS#1: numbers, of which the first has the size of the key.
        (0, 0x02) => element(rest, 0x02)?.1 >= 32,
        (1, 0x04) => (16..=80).contains(&element(rest, 0x04)?.1),
        _ => false,
    };
    key.then_some(())
}

/// The content of the element of this tag that `bytes` begin with, as far as it is there, and its length.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], u64)> {
    let (_, rest) = bytes.split_first().filter(|(first, _)| **first == tag)?;
    let (size, rest) = rest.split_first()?;
    if *size < 0x80 {
        return Some((rest, u64::from(*size)));
    }
    let (digits, rest) =
        rest.split_at_checked(usize::from(size & 0x7f)).filter(|(d, _)| (1..=4).contains(&d.len()))?;
    Some((rest, digits.iter().fold(0, |n, b| n << 8 | u64::from(*b))))
}
