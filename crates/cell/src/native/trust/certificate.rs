//! The few fields of a certificate that stores of roots file it under.

use sha1::{Digest, Sha1};

const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const UTF8: u8 = 0x0c;
const PRINTABLE: u8 = 0x13;
const T61: u8 = 0x14;
const IA5: u8 = 0x16;
const VISIBLE: u8 = 0x1a;
const UNIVERSAL: u8 = 0x1c;
const BMP: u8 = 0x1e;

/// Fields as they are encoded, tag and length included.
pub(super) struct Certificate<'a> {
    pub(super) whole: &'a [u8],
    pub(super) serial: &'a [u8],
    pub(super) issuer: &'a [u8],
    pub(super) subject: &'a [u8],
}

/// One element: its tag, its content, and all of it.
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    whole: &'a [u8],
}

/// Elements in a row, as long as they are whole.
struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    fn next(&mut self, tag: u8) -> Option<Element<'a>> {
        self.any().filter(|e| e.tag == tag)
    }

    fn any(&mut self) -> Option<Element<'a>> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            short @ 0..=0x7f => (usize::from(*short), rest),
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0, |n, b| n << 8 | usize::from(*b)), rest)
            }
            _ => return None,
        };
        let (content, after) = rest.split_at_checked(length)?;
        let whole = self.0.get(..self.0.len() - after.len())?;
        self.0 = after;
        Some(Element { tag: *tag, content, whole })
    }
}

impl<'a> Certificate<'a> {
    pub(super) fn read(der: &'a [u8]) -> Option<Self> {
        let mut outer = Elements(der);
        let whole = outer.next(SEQUENCE)?;
        if !outer.0.is_empty() {
            return None;
        }
        let mut fields = Elements(Elements(whole.content).next(SEQUENCE)?.content);
        if fields.0.first() == Some(&VERSION) {
            fields.next(VERSION)?;
        }
        let serial = fields.next(INTEGER)?.whole;
        let _algorithm = fields.next(SEQUENCE)?;
        let issuer = fields.next(SEQUENCE)?.whole;
        let _validity = fields.next(SEQUENCE)?;
        let subject = fields.next(SEQUENCE)?.whole;
        Some(Self { whole: der, serial, issuer, subject })
    }

    /// What `openssl x509 -subject_hash` prints: the head of SHA-1 over the subject in OpenSSL's canonical form.
    pub(super) fn subject_hash(&self) -> Option<u32> {
        let mut canonical = Vec::new();
        let mut sets = Elements(Elements(self.subject).next(SEQUENCE)?.content);
        while !sets.0.is_empty() {
            let mut entries = Vec::new();
            let mut set = Elements(sets.next(SET)?.content);
            while !set.0.is_empty() {
                let mut entry = Elements(set.next(SEQUENCE)?.content);
                let mut plain = entry.any()?.whole.to_vec();
                plain.extend(canonical_value(&entry.any()?)?);
                entries.push(encoded(SEQUENCE, &plain));
            }
            // DER orders a set by its encodings.
            entries.sort();
            canonical.extend(encoded(SET, &entries.concat()));
        }
        let [a, b, c, d, ..] = <[u8; 20]>::from(Sha1::digest(&canonical));
        Some(u32::from_le_bytes([a, b, c, d]))
    }
}

/// Text becomes UTF-8, in lower case, with single spaces; everything else stays.
fn canonical_value(value: &Element<'_>) -> Option<Vec<u8>> {
    let text: Vec<u8> = match value.tag {
        UTF8 | PRINTABLE | IA5 | VISIBLE => value.content.to_vec(),
        T61 => value.content.iter().map(|b| char::from(*b)).collect::<String>().into_bytes(),
        BMP => characters::<2>(value.content)?,
        UNIVERSAL => characters::<4>(value.content)?,
        _ => return Some(value.whole.to_vec()),
    };
    let space = |b: &u8| matches!(b, b' ' | b'\t'..=b'\r');
    let words: Vec<Vec<u8>> =
        text.split(space).filter(|word| !word.is_empty()).map(<[u8]>::to_ascii_lowercase).collect();
    Some(encoded(UTF8, &words.join(&b' ')))
}

fn characters<const WIDTH: usize>(content: &[u8]) -> Option<Vec<u8>> {
    let (units, rest) = content.as_chunks::<WIDTH>();
    let read = |unit: &[u8; WIDTH]| char::from_u32(unit.iter().fold(0, |n, b| n << 8 | u32::from(*b)));
    let text: Option<String> = units.iter().map(read).collect();
    text.filter(|_| rest.is_empty()).map(String::into_bytes)
}

fn encoded(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let mut whole = vec![tag];
    if content.len() < 0x80 {
        whole.extend(length.last());
    } else {
        let digits: Vec<u8> = length.into_iter().skip_while(|b| *b == 0).collect();
        // A length has at most eight digits.
        whole.push(0x80 | u8::try_from(digits.len()).unwrap_or_default());
        whole.extend(digits);
    }
    whole.extend_from_slice(content);
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};
    use std::io::Write;
    use std::process::{Command, Stdio};

    fn certificate(names: Vec<(DnType, DnValue)>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in names {
            params.distinguished_name.push(kind, value);
        }
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    /// What OpenSSL says, where it is.
    fn openssl(der: &[u8]) -> Option<String> {
        let mut command = Command::new("openssl");
        command.args(["x509", "-inform", "DER", "-noout", "-subject_hash"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        child.stdin.take().unwrap().write_all(der).unwrap();
        let said = child.wait_with_output().unwrap();
        Some(String::from_utf8_lossy(&said.stdout).trim().to_owned())
    }

    #[test]
    fn the_hash_of_a_subject_is_the_one_of_openssl() {
        let bmp = |t: &str| DnValue::BmpString(t.try_into().unwrap());
        let universal = |t: &str| DnValue::UniversalString(t.try_into().unwrap());
        let teletex = |t: &str| DnValue::TeletexString(t.try_into().unwrap());
        let printable = |t: &str| DnValue::PrintableString(t.try_into().unwrap());
        let long = "A long name of an authority ".repeat(12);
        for names in [
            vec![],
            vec![(DnType::CommonName, "Chaperone session CA".into())],
            vec![(DnType::CommonName, "  Spaces \t and\n MORE  ".into())],
            vec![(DnType::CommonName, "Žluťoučký KŮŇ".into())],
            vec![(DnType::CommonName, long.as_str().into())],
            vec![(DnType::CommonName, bmp("Wide Ňame")), (DnType::CountryName, printable("CZ"))],
            vec![
                (DnType::OrganizationName, universal("Wider Ňame")),
                (DnType::CommonName, teletex("Teletex")),
            ],
        ] {
            let der = certificate(names);
            let Some(theirs) = openssl(&der) else {
                println!("SKIPPED the_hash_of_a_subject_is_the_one_of_openssl: openssl is missing");
                return;
            };
            let ours = Certificate::read(&der).and_then(|c| c.subject_hash()).unwrap();
            assert_eq!(format!("{ours:08x}"), theirs);
        }
    }

    #[test]
    fn the_roots_of_this_machine_hash_as_their_links_say() {
        let Ok(directory) = std::fs::read_dir("/etc/ssl/certs") else { return };
        for entry in directory.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some((hash, "0")) = name.split_once('.') else { continue };
            let Some(text) = std::fs::read_to_string(entry.path()).ok() else { continue };
            let Some(der) = super::super::java::certificates(text.as_bytes()).next() else { continue };
            let ours = Certificate::read(&der).and_then(|c| c.subject_hash()).unwrap();
            assert_eq!(format!("{ours:08x}"), hash, "{name}");
        }
    }

    proptest! {
        #[test]
        fn what_is_no_certificate_is_refused_without_a_fault(
            at in 0usize..400, byte: u8, cut in 0usize..400, noise in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let mut der = certificate(vec![(DnType::CommonName, "Chaperone".into())]);
            prop_assert!(Certificate::read(&der[..cut.min(der.len() - 1)]).is_none());
            let at = at % der.len();
            der[at] = byte;
            Certificate::read(&der).and_then(|c| c.subject_hash());
            Certificate::read(&noise).and_then(|c| c.subject_hash());
        }
    }
}
