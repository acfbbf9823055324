//! What the data of a stream says without its filters (ISO 32000-1, 7.4).

use std::io::Read;

use super::value::{Dict, Value};

/// Filters one after the other; more is an attack.
const MOST_FILTERS: usize = 8;

/// What became of a stream.
#[derive(Debug)]
pub(super) enum Decoded {
    Bytes(Vec<u8>),
    /// A picture in a format of its own.
    Picture,
    /// It says more than it may.
    TooLong,
    Unknown,
}

/// Undoes the filters of a stream; answers at most `most` bytes.
pub(super) fn decode(raw: &[u8], dict: &Dict, most: usize) -> Decoded {
    let get = |long: &[u8], short: &[u8]| dict.get(long).or_else(|| dict.get(short));
    let filters = get(b"Filter", b"F").map(Value::list).unwrap_or_default();
    let parameters = get(b"DecodeParms", b"DP").map(Value::list).unwrap_or_default();
    if filters.len() > MOST_FILTERS {
        return Decoded::Unknown;
    }
    let mut data = raw.to_vec();
    for (i, filter) in filters.iter().enumerate() {
        let parameters = parameters.get(i).and_then(Value::dict);
        data = match filter.name() {
            b"FlateDecode" | b"Fl" => predicted(inflate(&data, most), parameters),
            b"LZWDecode" | b"LZW" => predicted(lzw(&data, parameters, most), parameters),
            b"ASCII85Decode" | b"A85" => ascii85(&data),
            b"ASCIIHexDecode" | b"AHx" => ascii_hex(&data),
            b"Crypt" => data,
            b"RunLengthDecode" | b"RL" => run_length(&data, most),
            b"DCTDecode" | b"DCT" | b"JPXDecode" | b"JBIG2Decode" | b"CCITTFaxDecode" | b"CCF" => {
                return Decoded::Picture;
            }
            _ => return Decoded::Unknown,
        };
        if data.len() > most {
            return Decoded::TooLong;
        }
    }
    Decoded::Bytes(data)
}

/// What can be decompressed: viewers show what stands before a fault.
fn inflate(data: &[u8], most: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let limit = most as u64 + 1;
    let whole = flate2::read::ZlibDecoder::new(data).take(limit).read_to_end(&mut out);
    if whole.is_err() && out.is_empty() {
        // Without the two bytes of a header, or with wrong ones.
        let bare = data.get(2..).unwrap_or_default();
        let _ = flate2::read::DeflateDecoder::new(bare).take(limit).read_to_end(&mut out);
    }
    out
}

fn lzw(data: &[u8], parameters: Option<&Dict>, most: usize) -> Vec<u8> {
    let early = parameters.and_then(|p| p.get(&b"EarlyChange"[..])).and_then(Value::whole) != Some(0);
    let order = weezl::BitOrder::Msb;
    let mut decoder = if early {
        weezl::decode::Decoder::with_tiff_size_switch(order, 8)
    } else {
        weezl::decode::Decoder::new(order, 8)
    };
    let (mut out, mut rest) = (Vec::new(), data);
    let mut block = vec![0; 64 * 1024];
    while out.len() <= most {
        let result = decoder.decode_bytes(rest, &mut block);
        rest = rest.get(result.consumed_in..).unwrap_or_default();
        out.extend_from_slice(block.get(..result.consumed_out).unwrap_or_default());
        let goes_on = matches!(result.status, Ok(weezl::LzwStatus::Ok));
        if !goes_on || result.consumed_in == 0 && result.consumed_out == 0 {
            break;
        }
    }
    out
}

fn ascii85(data: &[u8]) -> Vec<u8> {
    let (mut out, mut group, mut held) = (Vec::new(), 0u32, 0);
    let data = data.strip_prefix(b"<~").unwrap_or(data);
    for byte in data {
        match byte {
            b'~' => break,
            b'z' if held == 0 => out.extend_from_slice(&[0; 4]),
            b'!'..=b'u' => {
                group = group.wrapping_mul(85).wrapping_add(u32::from(byte - b'!'));
                held += 1;
                if held == 5 {
                    out.extend_from_slice(&group.to_be_bytes());
                    (group, held) = (0, 0);
                }
            }
            _ => {}
        }
    }
    if held > 1 {
        for _ in held..5 {
            group = group.wrapping_mul(85).wrapping_add(84);
        }
        out.extend_from_slice(group.to_be_bytes().get(..held - 1).unwrap_or_default());
    }
    out
}

fn ascii_hex(data: &[u8]) -> Vec<u8> {
    let digits: Vec<u8> = data
        .iter()
        .take_while(|b| **b != b'>')
        .filter_map(|b| char::from(*b).to_digit(16))
        .map(|d| d as u8)
        .collect();
    digits.chunks(2).map(|pair| pair.iter().fold(0, |n, d| n << 4 | d) << (4 * (2 - pair.len()))).collect()
}

fn run_length(data: &[u8], most: usize) -> Vec<u8> {
    let (mut out, mut at) = (Vec::new(), 0);
    while let Some(length) = data.get(at).copied().filter(|l| *l != 128 && out.len() <= most) {
        let length = usize::from(length);
        if length < 128 {
            let end = (at + 2 + length).min(data.len());
            out.extend_from_slice(data.get(at + 1..end).unwrap_or_default());
            at += 2 + length;
        } else {
            let Some(byte) = data.get(at + 1) else { break };
            out.extend(std::iter::repeat_n(*byte, 257 - length));
            at += 2;
        }
    }
    out
}

/// Undoes the prediction of PNG, the only one that text comes with.
fn predicted(data: Vec<u8>, parameters: Option<&Dict>) -> Vec<u8> {
    let whole = |key: &[u8], otherwise: usize| {
        parameters.and_then(|p| p.get(key)).and_then(Value::whole).unwrap_or(otherwise)
    };
    if whole(b"Predictor", 1) < 10 {
        return data;
    }
    let bits = whole(b"Colors", 1).clamp(1, 32) * whole(b"BitsPerComponent", 8).clamp(1, 16);
    let pixel = bits.div_ceil(8);
    let row = (whole(b"Columns", 1).clamp(1, 1 << 16) * bits).div_ceil(8);
    let mut out: Vec<u8> = Vec::with_capacity(data.len());
    let mut above = vec![0u8; row];
    for line in data.chunks(row + 1) {
        let Some((kind, rest)) = line.split_first() else { break };
        let mut current = vec![0u8; row];
        for (i, byte) in rest.iter().enumerate() {
            let at = |line: &[u8], i: Option<usize>| i.and_then(|i| line.get(i)).copied().unwrap_or(0);
            let left = at(&current, i.checked_sub(pixel));
            let up = at(&above, Some(i));
            let corner = at(&above, i.checked_sub(pixel));
            let guess = match kind {
                1 => left,
                2 => up,
                3 => ((u16::from(left) + u16::from(up)) / 2) as u8,
                4 => paeth(left, up, corner),
                _ => 0,
            };
            if let Some(place) = current.get_mut(i) {
                *place = byte.wrapping_add(guess);
            }
        }
        out.extend_from_slice(current.get(..rest.len()).unwrap_or_default());
        above = current;
    }
    out
}

fn paeth(left: u8, up: u8, corner: u8) -> u8 {
    let (a, b, c) = (i16::from(left), i16::from(up), i16::from(corner));
    let guess = a + b - c;
    let (to_left, to_up, to_corner) = ((guess - a).abs(), (guess - b).abs(), (guess - c).abs());
    if to_left <= to_up && to_left <= to_corner {
        left
    } else if to_up <= to_corner {
        up
    } else {
        corner
    }
}

#[cfg(test)]
mod tests {
    use super::{ascii_hex, ascii85, run_length};

    #[test]
    fn text_filters_are_undone() {
        assert_eq!(ascii85(b"<~87cURD]i,\"Ebo80~>"), b"Hello World!");
        assert_eq!(ascii_hex(b"48 65 6C6c 7>"), b"Hellp");
        assert_eq!(run_length(&[2, b'a', b'b', b'c', 254, b'x', 128, 9], 100), b"abcxxx");
    }
}
