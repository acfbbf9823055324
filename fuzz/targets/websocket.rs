//! Any bytes as WebSocket frames. The first byte chooses who sends (bit 0) and how the rest is cut: in pieces or at once, the
//! frames are the same, and written again they are read again.
#![no_main]

use chaperone_egress::websocket::{FrameReader, From, encode};
use chaperone_egress::{Message, MessageReader};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 4096;

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else { return };
    let from = if choice & 1 == 0 { From::Server } else { From::Client };
    let size = usize::from(choice >> 1) + 1;
    let whole = FrameReader::new(from, LIMIT).push(bytes);
    let mut reader = FrameReader::new(from, LIMIT);
    let pieces: Result<Vec<_>, _> = bytes.chunks(size).map(|piece| reader.push(piece)).collect();
    assert_eq!(whole, pieces.map(|p| p.concat()), "the cuts change what is read");
    let mut messages = MessageReader::new(from, LIMIT);
    for piece in bytes.chunks(size) {
        let Ok(read) = messages.push(piece) else {
            assert!(messages.push(&[]).is_err(), "a broken stream goes on");
            break;
        };
        for message in read {
            let len = match message {
                Message::Text(text) => text.len(),
                Message::Binary(bytes) => bytes.len(),
                Message::Ping(bytes) | Message::Pong(bytes) => {
                    assert!(bytes.len() <= 125);
                    bytes.len()
                }
                Message::Close(close) => close.map_or(0, |(_, reason)| reason.len()),
            };
            assert!(len <= LIMIT);
        }
    }
    let Ok(frames) = whole else { return };
    let mask = (from == From::Client).then_some([1, 2, 3, *choice]);
    let written: Vec<u8> = frames.iter().flat_map(|frame| encode(frame, mask)).collect();
    assert_eq!(FrameReader::new(from, LIMIT).push(&written), Ok(frames));
});
