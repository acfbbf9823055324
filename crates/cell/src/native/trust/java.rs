//! Java's store of trusted certificates in its format JKS, which every Java reads whatever its store is named.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sha1::{Digest, Sha1};

const MAGIC: u32 = 0xfeed_feed;
const VERSION: u32 = 2;
const TRUSTED: u32 = 2;
/// What the store of every Java is sealed with.
const PASSWORD: &str = "changeit";
/// Magic, version and count.
const HEAD: usize = 12;
/// The digest at the end.
const SEAL: usize = 20;
const NAME: &str = "chaperone";

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Bytes of an entry beside its certificate, at most.
pub(super) const MORE: usize = 64;

/// A store with one certificate more. One in another format is made anew, from roots in PEM that have the certificate.
pub(super) fn add(mut store: Vec<u8>, der: &[u8], roots: &[u8]) -> Vec<u8> {
    let count = if let Some(count) = opened(&store) {
        store.truncate(store.len() - SEAL);
        entry(&mut store, NAME, der);
        count + 1
    } else {
        let mut count = 0;
        store.clear();
        store.resize(HEAD, 0);
        for der in certificates(roots) {
            entry(&mut store, &format!("{NAME}-{count}"), &der);
            count += 1;
        }
        count
    };
    for (place, field) in store.iter_mut().zip([MAGIC, VERSION, count].into_iter().flat_map(u32::to_be_bytes))
    {
        *place = field;
    }
    let mut seal = Sha1::new();
    for unit in PASSWORD.encode_utf16() {
        seal.update(unit.to_be_bytes());
    }
    // The words are part of the format.
    seal.update(b"Mighty Aphrodite");
    seal.update(&store);
    store.extend_from_slice(&seal.finalize());
    store
}

/// The number of entries, if it is a JKS of the version to which entries can be added at the end.
fn opened(store: &[u8]) -> Option<u32> {
    let (head, rest) = store.split_at_checked(HEAD)?;
    let (fields, _) = head.as_chunks::<4>();
    let &[magic, version, count] = fields else { return None };
    let count = u32::from_be_bytes(count);
    let known = u32::from_be_bytes(magic) == MAGIC && u32::from_be_bytes(version) == VERSION;
    (known && rest.len() >= SEAL && count < u32::MAX).then_some(count)
}

fn entry(entries: &mut Vec<u8>, name: &str, der: &[u8]) {
    let text = |entries: &mut Vec<u8>, text: &str| {
        // Names and types are short.
        entries.extend_from_slice(&u16::try_from(text.len()).unwrap_or_default().to_be_bytes());
        entries.extend_from_slice(text.as_bytes());
    };
    entries.extend_from_slice(&TRUSTED.to_be_bytes());
    text(entries, name);
    // When it was added: nobody asks.
    entries.extend_from_slice(&[0; 8]);
    text(entries, "X.509");
    entries.extend_from_slice(&u32::try_from(der.len()).unwrap_or_default().to_be_bytes());
    entries.extend_from_slice(der);
}

/// The certificates of a PEM file; what is between them, and what does not decode, is passed over.
pub(super) fn certificates(pem: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    const END: &[u8] = b"-----END CERTIFICATE-----";
    let mut lines = pem.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
    std::iter::from_fn(move || {
        lines.find(|line| *line == BEGIN)?;
        Some(lines.by_ref().take_while(|line| *line != END).collect::<Vec<_>>().concat())
    })
    .filter_map(|encoded| LENIENT.decode(encoded).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// What `keytool` says of a store, where it is; the password makes it check the seal.
    fn listed(store: &[u8]) -> Option<String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), store).unwrap();
        let mut command = Command::new("keytool");
        let said = command.args(["-J-Duser.language=en", "-list", "-storepass", PASSWORD, "-keystore"]);
        let said = said.arg(file.path()).output().ok()?;
        Some(String::from_utf8_lossy(&said.stdout).into_owned())
    }

    fn own() -> Vec<u8> {
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::default().self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn a_store_is_made_from_a_bundle_and_grows_by_one() {
        let (first, second) = (own(), own());
        let bundle = format!("# A comment\n{}\n{}", super::super::pem(&first), super::super::pem(&second));
        assert_eq!(certificates(bundle.as_bytes()).collect::<Vec<_>>(), [first.clone(), second.clone()]);
        let made = add(b"0\x82".to_vec(), &second, bundle.as_bytes());
        let grown = add(made.clone(), &own(), b"");
        for (store, count) in [(made, 2), (grown, 3)] {
            let Some(said) = listed(&store) else {
                println!("SKIPPED a_store_is_made_from_a_bundle_and_grows_by_one: keytool is missing");
                return;
            };
            assert!(said.contains(&format!("contains {count} entr")), "{said}");
        }
    }

    #[test]
    fn what_is_no_store_is_replaced() {
        let authority = own();
        let bundle = super::super::pem(&authority);
        let made = add(vec![], &authority, bundle.as_bytes());
        for broken in [&made[..31], &made[..4], &[0xff; 40]] {
            assert_eq!(add(broken.to_vec(), &authority, bundle.as_bytes()), made);
        }
        let full = [&made[..8], &[0xff; 4], &made[12..]].concat();
        assert_eq!(add(full, &authority, bundle.as_bytes()), made);
    }
}
