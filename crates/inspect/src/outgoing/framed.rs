//! A stream that was packed first and then cut into messages, each behind its length, as calls of gRPC carry files: only without the lengths
//! is it whole.

use crate::encodings::may_be_packed;

/// The stream that begins with one of the messages and goes on in those behind it; nothing where these bytes are no messages, or none of them
/// begins something packed.
pub(super) fn stream(bytes: &[u8]) -> Option<Vec<u8>> {
    // A mark whether the message is packed by itself, before the length; the length alone, in both orders.
    let marked =
        |head: &[u8; 5]| (head[0] < 2).then(|| u32::from_be_bytes([head[1], head[2], head[3], head[4]]));
    let big = |head: &[u8; 5]| Some(u32::from_be_bytes([head[0], head[1], head[2], head[3]]));
    let little = |head: &[u8; 5]| Some(u32::from_le_bytes([head[0], head[1], head[2], head[3]]));
    joined(bytes, 5, marked).or_else(|| joined(bytes, 4, big)).or_else(|| joined(bytes, 4, little))
}

fn joined(bytes: &[u8], head: usize, length: impl Fn(&[u8; 5]) -> Option<u32>) -> Option<Vec<u8>> {
    let (mut rest, mut number) = (bytes, 0);
    let mut out: Option<Vec<u8>> = None;
    while let Some(first) = rest.first_chunk() {
        let length = usize::try_from(length(first)?).ok()?;
        let all = rest.get(head..)?;
        // The last one may not be there in whole yet.
        let message = all.get(..length).or_else(|| (number > 0).then_some(all))?;
        if length == 0 && number == 0 {
            return None;
        }
        number += 1;
        let data = data(message);
        match out.as_mut() {
            Some(out) => out.extend_from_slice(data),
            None if may_be_packed(data) => out = Some(data.to_vec()),
            None => {}
        }
        rest = all.get(length..).unwrap_or_default();
    }
    out.filter(|_| number > 1)
}

/// The field of bytes that a message of protobuf ends with; all of it where it is none.
fn data(message: &[u8]) -> &[u8] {
    let mut rest = message;
    while let Some((tag, after)) = varint(rest) {
        let Some((value, after)) = varint(after) else { break };
        rest = match tag & 7 {
            0 => after,
            2 => {
                let Ok(length) = usize::try_from(value) else { break };
                if length == after.len() {
                    return after;
                }
                match after.get(length..) {
                    Some(after) => after,
                    None => break,
                }
            }
            _ => break,
        };
    }
    message
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let end = bytes.iter().take(10).position(|b| b & 0x80 == 0)?;
    let value = bytes.get(..=end)?.iter().rev().fold(0u64, |n, b| n << 7 | u64::from(b & 0x7f));
    Some((value, bytes.get(end + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_whole_without_what_stands_between_its_messages() {
        let packed: Vec<u8> = b"\x1f\x8b\x08".iter().copied().chain(9..200).collect();
        let field = |data: &[u8]| [&b"\x0a\x04name\x10\x96\x01\x52"[..], &[data.len() as u8], data].concat();
        type Frame = fn(u32) -> Vec<u8>;
        let frames: [Frame; 3] = [
            |n| [&[0][..], &n.to_be_bytes()].concat(),
            |n| n.to_be_bytes().to_vec(),
            |n| n.to_le_bytes().to_vec(),
        ];
        for frame in frames {
            let framed = |m: Vec<u8>| [frame(m.len() as u32), m].concat();
            let plain: Vec<u8> = packed.chunks(30).flat_map(|c| framed(c.to_vec())).collect();
            let fields: Vec<u8> = packed.chunks(30).flat_map(|c| framed(field(c))).collect();
            let behind = [framed(b"begins".to_vec()), plain.clone()].concat();
            for body in [plain, fields, behind] {
                assert_eq!(stream(&body).as_deref(), Some(packed.as_slice()));
                let cut = stream(body.get(..body.len() - 7).unwrap()).unwrap();
                // But for the last message.
                assert_eq!(cut.get(..180), packed.get(..180));
            }
        }
        assert_eq!(stream(&packed), None);
        assert_eq!(stream(b"\0\0\0\0\x05hello\0\0\0\0\x05world"), None);
    }
}
