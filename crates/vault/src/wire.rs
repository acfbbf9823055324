//! Frames on the socket: four bytes of length (big endian), then one JSON object, read strictly.

use std::io::{Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::approval::{ApprovalRecord, SignedApproval};
use crate::error::{RemoteError, VaultError};

/// Bytes of one frame: bounds memory for a hostile length; 8,192 fingerprints fit.
pub const MAX_FRAME: usize = 1024 * 1024;
/// Fingerprints of one call.
pub const MAX_FINGERPRINTS: usize = 8192;

/// Bytes in hex, of a fixed length.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hex<const N: usize>(pub(crate) [u8; N]);

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0))
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let mut bytes = [0; N];
        hex::decode_to_slice(text.as_bytes(), &mut bytes)
            .map_err(|_| serde::de::Error::custom("hex of a fixed length"))?;
        Ok(Self(bytes))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Request {
    Hello {},
    SignCapability {
        claims: String,
    },
    SignCheckpoint {
        size: u64,
        root: Hex<32>,
        proof: Vec<Hex<32>>,
    },
    LastSigned {},
    /// The log is closed at the tree that was signed last; the next tree is the first of a new log.
    CloseLog {
        last: Option<LastSigned>,
    },
    SignApproval {
        record: ApprovalRecord,
        pin_proof: Option<Hex<16>>,
    },
    Fingerprint {
        hashes: Vec<Hex<32>>,
    },
    DataKey {
        id: Option<String>,
    },
    EraseDataKey {
        id: String,
    },
    PinSet {
        old: Option<String>,
        new: String,
    },
    PinVerify {
        pin: String,
        action_digest: Hex<32>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Response {
    Hello(Hello),
    Token { token: String },
    Checkpoint { note: String },
    LastSigned { last: Option<LastSigned> },
    Approval(SignedApproval),
    Fingerprints { fingerprints: Vec<Hex<32>> },
    DataKey { id: String, key: Hex<32> },
    PinProof { proof: Hex<16> },
    Done {},
    Error(RemoteError),
}

/// Who the vault is; public, and the same for its whole life.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    pub install_id: String,
    /// Ed25519, hex: verifies capabilities.
    pub issuer_key: String,
    /// Signed-note verifier key: `name+hash+key`.
    pub checkpoint_vkey: String,
    /// The first line of every checkpoint.
    pub origin: String,
    /// Ed25519, hex: verifies approvals.
    pub approval_key: String,
    pub pin_is_set: bool,
}

/// The newest tree that the vault signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LastSigned {
    pub size: u64,
    #[serde(with = "root_hex")]
    pub root: [u8; 32],
}

mod root_hex {
    use super::Hex;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(root: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        Hex(*root).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        Ok(Hex::deserialize(deserializer)?.0)
    }
}

/// Reads one frame; `None` at the end of the stream. A frame that is too long ends the conversation.
pub(crate) fn read_frame(stream: &mut impl Read) -> std::io::Result<Option<zeroize::Zeroizing<Vec<u8>>>> {
    let mut length = [0; 4];
    let mut read = 0;
    while read < length.len() {
        match stream.read(length.get_mut(read..).unwrap_or_default()) {
            Ok(0) if read == 0 => return Ok(None),
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(more) => read += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_FRAME {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "a frame is longer than 1 MiB"));
    }
    let mut body = zeroize::Zeroizing::new(vec![0; length]);
    stream.read_exact(&mut body)?;
    Ok(Some(body))
}

pub(crate) fn write_frame(stream: &mut impl Write, message: &impl Serialize) -> std::io::Result<()> {
    let mut frame = zeroize::Zeroizing::new(Vec::with_capacity(256));
    frame.extend_from_slice(&[0; 4]);
    serde_json::to_writer(&mut *frame, message).map_err(std::io::Error::other)?;
    let length = frame.len() - 4;
    if length > MAX_FRAME {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "a frame is longer than 1 MiB"));
    }
    if let Some(head) = frame.get_mut(..4) {
        head.copy_from_slice(&(length as u32).to_be_bytes());
    }
    stream.write_all(&frame)
}

pub(crate) fn decode<T: DeserializeOwned>(frame: &[u8]) -> Result<T, VaultError> {
    serde_json::from_slice(frame).map_err(|_| VaultError::Protocol("a frame is not one of the operations"))
}
