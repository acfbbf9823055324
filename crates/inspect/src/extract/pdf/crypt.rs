//! Documents that are encrypted and open without a password, as those are that only forbid to print (ISO 32000-2, 7.6).

use aes::{Aes128, Aes256};
use cbc::cipher::block_padding::NoPadding;
use cbc::cipher::{BlockDecryptMut, BlockEncryptMut, KeyIvInit};
use md5::Md5;
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::value::{Dict, Value};

/// What stands for a password where there is none.
const PADDING: [u8; 32] = [
    0x28, 0xbf, 0x4e, 0x5e, 0x4e, 0x75, 0x8a, 0x41, 0x64, 0x00, 0x4e, 0x56, 0xff, 0xfa, 0x01, 0x08, 0x2e,
    0x2e, 0x00, 0xb6, 0xd0, 0x68, 0x3e, 0x80, 0x2f, 0x0c, 0xa9, 0xfe, 0x64, 0x53, 0x69, 0x7a,
];
const BLOCK: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cipher {
    Nothing,
    Rc4,
    Aes128,
    Aes256,
}

/// The number of an object and of its version.
pub(super) type Id = (u32, u16);

#[derive(Debug)]
pub(super) struct Key {
    key: Vec<u8>,
    streams: Cipher,
    strings: Cipher,
    is_metadata_plain: bool,
}

impl Key {
    /// The key without a password; nothing where one is needed, or where the method is not known. `ids` are what the file may
    /// be called.
    pub(super) fn without_password(encryption: &Dict, ids: &[Vec<u8>]) -> Option<Self> {
        let whole = |key: &[u8]| encryption.get(key).and_then(Value::whole);
        let string = |key: &[u8]| match encryption.get(key) {
            Some(Value::String(bytes)) => Some(bytes.as_slice()),
            _ => None,
        };
        let (version, revision) = (whole(b"V")?, whole(b"R")?);
        let is_false = |v: &Value| *v == Value::Word(b"false".to_vec());
        let is_metadata_plain = encryption.get(&b"EncryptMetadata"[..]).is_some_and(is_false);
        let (streams, strings) = match version {
            1 | 2 => (Cipher::Rc4, Cipher::Rc4),
            4 | 5 => (cipher(encryption, b"StmF")?, cipher(encryption, b"StrF")?),
            _ => return None,
        };
        let user = string(b"U")?;
        let key = if revision >= 5 {
            key_of_revision_6(user, string(b"UE")?, revision)?
        } else {
            let length = match version {
                1 => 5,
                4 => 16,
                _ => (whole(b"Length").unwrap_or(40) / 8).clamp(5, 16),
            };
            let permissions = encryption.get(&b"P"[..])?.number()? as i64 as u32;
            let none = Vec::new();
            let ids = if ids.is_empty() { std::slice::from_ref(&none) } else { ids };
            ids.iter().find_map(|id| {
                let mut hash = Md5::new_with_prefix(PADDING).chain_update(string(b"O")?.get(..32)?);
                hash.update(permissions.to_le_bytes());
                hash.update(id);
                if revision >= 4 && is_metadata_plain {
                    hash.update([0xff; 4]);
                }
                let mut key = hash.finalize().to_vec();
                for _ in 0..if revision >= 3 { 50 } else { 0 } {
                    key = Md5::digest(key.get(..length)?).to_vec();
                }
                key.truncate(length);
                opens(&key, user, id, revision).then_some(key)
            })?
        };
        Some(Self { key, streams, strings, is_metadata_plain })
    }

    pub(super) fn stream(&self, id: Id, dict: &Dict, data: &[u8]) -> Option<Vec<u8>> {
        let is = |key: &[u8], name: &[u8]| dict.get(key).is_some_and(|v| v.name() == name);
        let has_own = dict.get(&b"Filter"[..]).is_some_and(|f| f.list().iter().any(|f| f.name() == b"Crypt"));
        let is_plain = is(b"Type", b"XRef") || has_own || self.is_metadata_plain && is(b"Type", b"Metadata");
        (!is_plain).then(|| self.decrypted(self.streams, id, data))
    }

    /// Decrypts the strings of an object.
    pub(super) fn strings(&self, id: Id, value: &mut Value) {
        match value {
            Value::String(bytes) => *bytes = self.decrypted(self.strings, id, bytes),
            Value::Array(list) => list.iter_mut().for_each(|v| self.strings(id, v)),
            Value::Dict(dict) => dict.values_mut().for_each(|v| self.strings(id, v)),
            _ => {}
        }
    }

    fn decrypted(&self, cipher: Cipher, (number, version): Id, data: &[u8]) -> Vec<u8> {
        let of_object = || {
            let mut hash = Md5::new_with_prefix(&self.key);
            hash.update(number.to_le_bytes().get(..3).unwrap_or_default());
            hash.update(version.to_le_bytes());
            if cipher == Cipher::Aes128 {
                hash.update(b"sAlT");
            }
            let mut key = hash.finalize().to_vec();
            key.truncate((self.key.len() + 5).min(16));
            key
        };
        match cipher {
            Cipher::Nothing => data.to_vec(),
            Cipher::Rc4 => rc4(&of_object(), data),
            Cipher::Aes128 => unchained::<cbc::Decryptor<Aes128>>(&of_object(), data),
            Cipher::Aes256 => unchained::<cbc::Decryptor<Aes256>>(&self.key, data),
        }
    }
}

fn cipher(encryption: &Dict, which: &[u8]) -> Option<Cipher> {
    let name = encryption.get(which).map(Value::name).unwrap_or(b"Identity");
    if name == b"Identity" {
        return Some(Cipher::Nothing);
    }
    let filter = encryption.get(&b"CF"[..])?.dict()?.get(name)?.dict()?;
    match filter.get(&b"CFM"[..]).map(Value::name)? {
        b"None" => Some(Cipher::Nothing),
        b"V2" => Some(Cipher::Rc4),
        b"AESV2" => Some(Cipher::Aes128),
        b"AESV3" => Some(Cipher::Aes256),
        _ => None,
    }
}

/// Whether a key is the one of the document, by what it makes of a known text.
fn opens(key: &[u8], user: &[u8], id: &[u8], revision: usize) -> bool {
    if revision < 3 {
        return rc4(key, &PADDING) == user;
    }
    let mut proof = Md5::new_with_prefix(PADDING).chain_update(id).finalize().to_vec();
    for round in 0..20 {
        let key: Vec<u8> = key.iter().map(|b| b ^ round).collect();
        proof = rc4(&key, &proof);
    }
    user.get(..16) == Some(&proof)
}

fn key_of_revision_6(user: &[u8], encrypted: &[u8], revision: usize) -> Option<Vec<u8>> {
    let hash = |salt: &[u8]| if revision == 5 { Some(Sha256::digest(salt).to_vec()) } else { hardened(salt) };
    if hash(user.get(32..40)?)? != user.get(..32)? {
        return None;
    }
    let mut key = encrypted.get(..32)?.to_vec();
    let between = hash(user.get(40..48)?)?;
    let cipher = cbc::Decryptor::<Aes256>::new_from_slices(&between, &[0; BLOCK]).ok()?;
    cipher.decrypt_padded_mut::<NoPadding>(&mut key).ok()?;
    Some(key)
}

/// The hash of revision 6 for no password (algorithm 2.B).
fn hardened(salt: &[u8]) -> Option<Vec<u8>> {
    let mut hash = Sha256::digest(salt).to_vec();
    for round in 0u32.. {
        let mut data = hash.repeat(64);
        let length = data.len();
        let cipher = cbc::Encryptor::<Aes128>::new_from_slices(hash.get(..16)?, hash.get(16..32)?).ok()?;
        cipher.encrypt_padded_mut::<NoPadding>(&mut data, length).ok()?;
        let remainder: u32 = data.get(..16)?.iter().map(|b| u32::from(*b)).sum::<u32>() % 3;
        hash = match remainder {
            0 => Sha256::digest(&data).to_vec(),
            1 => Sha384::digest(&data).to_vec(),
            _ => Sha512::digest(&data).to_vec(),
        };
        // The last byte is at most 255, so this ends.
        if round >= 63 && u32::from(*data.last()?) <= round - 31 {
            break;
        }
    }
    hash.truncate(32);
    Some(hash)
}

/// CBC with the vector before the data and padding behind it.
fn unchained<C: KeyIvInit + BlockDecryptMut>(key: &[u8], data: &[u8]) -> Vec<u8> {
    let Some((vector, data)) = data.split_at_checked(BLOCK) else { return Vec::new() };
    let whole = data.len() - data.len() % BLOCK;
    let mut data = data.get(..whole).unwrap_or_default().to_vec();
    let Ok(cipher) = C::new_from_slices(key, vector) else { return Vec::new() };
    if cipher.decrypt_padded_mut::<NoPadding>(&mut data).is_err() {
        return Vec::new();
    }
    let padding = data.last().map_or(0, |b| usize::from(*b));
    if (1..=BLOCK).contains(&padding) {
        data.truncate(data.len().saturating_sub(padding));
    }
    data
}

/// A cipher of fifteen lines, with keys of any length: the crates want it known when they are compiled.
fn rc4(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut state: [u8; 256] = std::array::from_fn(|i| i as u8);
    let mut j = 0u8;
    for (i, part) in key.iter().cycle().take(256).enumerate() {
        j = j.wrapping_add(state[i]).wrapping_add(*part);
        state.swap(i, usize::from(j));
    }
    let (mut i, mut j) = (0u8, 0u8);
    data.iter()
        .map(|byte| {
            i = i.wrapping_add(1);
            j = j.wrapping_add(state[usize::from(i)]);
            state.swap(usize::from(i), usize::from(j));
            byte ^ state[usize::from(state[usize::from(i)].wrapping_add(state[usize::from(j)]))]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::rc4;

    #[test]
    fn the_stream_cipher_is_the_one_of_everybody() {
        assert_eq!(rc4(b"Key", b"Plaintext"), [0xbb, 0xf3, 0x16, 0xe8, 0xd9, 0x40, 0xaf, 0x0a, 0xd3]);
    }
}
