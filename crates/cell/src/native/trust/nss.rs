//! The database of NSS that Chromium reads in the home: `SQLite`'s file format, with one table and two rows.

use sha1::{Digest, Sha1};

use super::certificate::Certificate;

/// The attributes of PKCS #11 that have a column, in the order of NSS. A newer NSS adds columns when it wants more.
const COLUMNS: &[u32] = &[
    0x0,
    0x1,
    0x2,
    0x3,
    0x10,
    0x11,
    0x12,
    0x80,
    0x81,
    0x82,
    0x83,
    0x84,
    0x85,
    0x86,
    0x87,
    0x88,
    0x89,
    0x8a,
    0x8b,
    0x90,
    0x100,
    0x101,
    0x102,
    0x103,
    0x104,
    0x105,
    0x106,
    0x107,
    0x108,
    0x109,
    0x10a,
    0x10b,
    0x10c,
    0x110,
    0x111,
    0x120,
    0x121,
    0x122,
    0x123,
    0x124,
    0x125,
    0x126,
    0x127,
    0x128,
    0x129,
    0x130,
    0x131,
    0x132,
    0x133,
    0x134,
    0x160,
    0x161,
    0x162,
    0x163,
    0x164,
    0x165,
    0x166,
    0x170,
    0x180,
    0x181,
    0x200,
    0x201,
    0x202,
    0x210,
    0x300,
    0x301,
    0x302,
    0x400,
    0x401,
    0x402,
    0x403,
    0x404,
    0x405,
    0x406,
    0x480,
    0x481,
    0x482,
    0x500,
    0x501,
    0x502,
    0x503,
    0x4000_0211,
    0x4000_0212,
    0x8000_0001,
    0xce53_4351,
    0xce53_4352,
    0xce53_4353,
    0xce53_4354,
    0xce53_4355,
    0xce53_4356,
    0xce53_4357,
    0xce53_4358,
    0xce53_4364,
    0xce53_4365,
    0xce53_4366,
    0xce53_4367,
    0xce53_4368,
    0xce53_4369,
    0xce53_4373,
    0xce53_4374,
    0xce53_6351,
    0xce53_6352,
    0xce53_6353,
    0xce53_6354,
    0xce53_6355,
    0xce53_6356,
    0xce53_6357,
    0xce53_6358,
    0xce53_6359,
    0xce53_635a,
    0xce53_635b,
    0xce53_635c,
    0xce53_635d,
    0xce53_635e,
    0xce53_635f,
    0xce53_6360,
    0xce53_63b4,
    0xce53_63b5,
    0xd5a0_db00,
];
const CLASS: u32 = 0x0;
const TOKEN: u32 = 0x1;
const PRIVATE: u32 = 0x2;
const LABEL: u32 = 0x3;
const VALUE: u32 = 0x11;
const CERTIFICATE_TYPE: u32 = 0x80;
const ISSUER: u32 = 0x81;
const SERIAL_NUMBER: u32 = 0x82;
const SUBJECT: u32 = 0x101;
const ID: u32 = 0x102;
const MODIFIABLE: u32 = 0x170;
const SERVER_AUTH: u32 = 0xce53_6358;
const CLIENT_AUTH: u32 = 0xce53_6359;
const CODE_SIGNING: u32 = 0xce53_635a;
const EMAIL_PROTECTION: u32 = 0xce53_635b;
const STEP_UP_APPROVED: u32 = 0xce53_6360;
const SHA1_HASH: u32 = 0xce53_63b4;

const CERTIFICATE: [u8; 4] = [0, 0, 0, 1];
const X509: [u8; 4] = [0; 4];
const TRUST: [u8; 4] = [0xce, 0x53, 0x43, 0x53];
/// An authority whose certificates are trusted, and what is neither trusted nor distrusted.
const DELEGATOR: [u8; 4] = [0xce, 0x53, 0x43, 0x52];
const MUST_VERIFY: [u8; 4] = [0xce, 0x53, 0x43, 0x53];
const YES: &[u8] = &[1];
const NO: &[u8] = &[0];
const NAME: &[u8] = b"chaperone";

/// The head of the file, which lies in its first page.
const HEAD: usize = 100;
const LEAF: u8 = 0x0d;

/// `cert9.db` with one certificate that is an authority for servers; `None` for one that is too large.
pub(super) fn database(certificate: &Certificate<'_>) -> Option<Vec<u8>> {
    let hash = Sha1::digest(certificate.whole);
    let object = [
        (CLASS, &CERTIFICATE[..]),
        (TOKEN, YES),
        (PRIVATE, NO),
        (MODIFIABLE, YES),
        (LABEL, NAME),
        (CERTIFICATE_TYPE, &X509),
        (ISSUER, certificate.issuer),
        (SERIAL_NUMBER, certificate.serial),
        (SUBJECT, certificate.subject),
        (ID, &hash),
        (VALUE, certificate.whole),
    ];
    let trust = [
        (CLASS, &TRUST[..]),
        (TOKEN, YES),
        (PRIVATE, NO),
        (MODIFIABLE, YES),
        (ISSUER, certificate.issuer),
        (SERIAL_NUMBER, certificate.serial),
        (SHA1_HASH, &hash),
        (SERVER_AUTH, &DELEGATOR),
        (CLIENT_AUTH, &MUST_VERIFY),
        (CODE_SIGNING, &MUST_VERIFY),
        (EMAIL_PROTECTION, &MUST_VERIFY),
        (STEP_UP_APPROVED, NO),
    ];
    let columns: Vec<String> = COLUMNS.iter().map(|c| format!("a{c:x}")).collect();
    let table = format!("CREATE TABLE nssPublic (id INTEGER PRIMARY KEY, {})", columns.join(", "));
    let root = [2];
    let schema = [
        Value::Text(b"table"),
        Value::Text(b"nssPublic"),
        Value::Text(b"nssPublic"),
        Value::Byte(root),
        Value::Text(table.as_bytes()),
    ];
    let (schema, rows) = (record(&schema), [record(&row(&object)), record(&row(&trust))]);
    [4096_u16, 8192, 16384, 32768].into_iter().find_map(|size| {
        let mut file = page(size, HEAD, std::slice::from_ref(&schema))?;
        file.get_mut(..HEAD)?.copy_from_slice(&head(size));
        file.extend(page(size, 0, &rows)?);
        Some(file)
    })
}

#[derive(Clone, Copy)]
enum Value<'a> {
    Null,
    Byte([u8; 1]),
    Blob(&'a [u8]),
    Text(&'a [u8]),
}

/// A row of the table. The first column is the row's own number, which a record leaves out.
fn row<'a>(attributes: &[(u32, &'a [u8])]) -> Vec<Value<'a>> {
    let value = |column: &u32| {
        attributes.iter().find(|(a, _)| a == column).map_or(Value::Null, |(_, content)| Value::Blob(content))
    };
    std::iter::once(Value::Null).chain(COLUMNS.iter().map(value)).collect()
}

fn record(values: &[Value<'_>]) -> Vec<u8> {
    let (mut kinds, mut bodies) = (Vec::new(), Vec::new());
    for value in values {
        let (kind, body) = match value {
            Value::Null => (0, &[][..]),
            Value::Byte(byte) => (1, &byte[..]),
            Value::Blob(content) => (12 + 2 * content.len(), *content),
            Value::Text(content) => (13 + 2 * content.len(), *content),
        };
        kinds.extend(number(kind));
        bodies.extend_from_slice(body);
    }
    // The length counts itself: one byte, or two.
    let own = if kinds.len() < 127 { 1 } else { 2 };
    [number(kinds.len() + own), kinds, bodies].concat()
}

/// Big-endian groups of seven bits, all but the last marked.
fn number(value: usize) -> Vec<u8> {
    let group = |shift: u32| u8::try_from(value >> shift & 0x7f).unwrap_or_default();
    let groups = (1..=4_u32).rev().map(|n| n * 7).skip_while(|shift| value >> shift == 0);
    groups.map(|shift| group(shift) | 0x80).chain([group(0)]).collect()
}

/// A leaf of a table with these records, numbered from 1, behind so many bytes of something else.
fn page(size: u16, after: usize, records: &[Vec<u8>]) -> Option<Vec<u8>> {
    let size = usize::from(size);
    let mut page = vec![0; size];
    let mut places = Vec::new();
    let mut end = size;
    for (i, record) in records.iter().enumerate() {
        // Longer ones would go on in further pages.
        if record.len() > size - 35 {
            return None;
        }
        let cell = [number(record.len()), number(i + 1), record.clone()].concat();
        let start = end.checked_sub(cell.len())?;
        page.get_mut(start..end)?.copy_from_slice(&cell);
        places.extend(u16::try_from(start).ok()?.to_be_bytes());
        end = start;
    }
    let mut begin = vec![LEAF, 0, 0];
    begin.extend(u16::try_from(records.len()).ok()?.to_be_bytes());
    begin.extend(u16::try_from(end).ok()?.to_be_bytes());
    begin.push(0);
    begin.extend(places);
    let room = page.get_mut(after..end)?;
    room.get_mut(..begin.len())?.copy_from_slice(&begin);
    Some(page)
}

/// Two pages, in UTF-8, in the fourth format of schemas.
fn head(size: u16) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    let fields: [(usize, &[u8]); 9] = [
        (0, b"SQLite format 3\0"),
        (16, &size.to_be_bytes()),
        // Versions 1, the journal; nothing reserved; fractions that are fixed.
        (18, &[1, 1, 0, 64, 32, 32]),
        (24, &1_u32.to_be_bytes()),
        (28, &2_u32.to_be_bytes()),
        (40, &1_u32.to_be_bytes()),
        (44, &4_u32.to_be_bytes()),
        (56, &1_u32.to_be_bytes()),
        (92, &1_u32.to_be_bytes()),
    ];
    for (at, field) in fields {
        for (place, byte) in head.iter_mut().skip(at).zip(field) {
            *place = *byte;
        }
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn own(name: &str) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, name);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn sqlite_finds_the_database_whole() {
        for length in [1, 200, 2_000, 5_000] {
            let der = own(&"n".repeat(length));
            let certificate = Certificate::read(&der).unwrap();
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), database(&certificate).unwrap()).unwrap();
            let query = "pragma integrity_check; select id, hex(a0), hex(a82), length(a11) from nssPublic where a81 = a81;";
            let Ok(done) = Command::new("sqlite3").arg(file.path()).arg(query).output() else {
                println!("SKIPPED sqlite_finds_the_database_whole: sqlite3 is missing");
                return;
            };
            let serial = hex::encode_upper(certificate.serial);
            let expected = format!("ok\n1|00000001|{serial}|{}\n2|CE534353|{serial}|\n", der.len());
            assert_eq!(String::from_utf8_lossy(&done.stdout), expected);
        }
    }

    #[test]
    fn an_authority_beyond_all_measure_is_refused() {
        let der = own(&"n".repeat(40_000));
        assert!(database(&Certificate::read(&der).unwrap()).is_none());
    }

    #[test]
    fn numbers_are_in_groups_of_seven() {
        let cases: [(usize, &[u8]); 5] = [
            (0, &[0]),
            (127, &[0x7f]),
            (128, &[0x81, 0]),
            (16_384, &[0x81, 0x80, 0]),
            (2_097_152, &[0x81, 0x80, 0x80, 0]),
        ];
        for (value, bytes) in cases {
            assert_eq!(number(value), bytes);
        }
    }
}
