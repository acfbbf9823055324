use super::*;
use crate::websocket_message::{Message, MessageReader};
use proptest::prelude::*;

const MASK: Option<[u8; 4]> = Some([0x37, 0xfa, 0x21, 0x3d]);

fn frame(opcode: Opcode, fin: bool, payload: &[u8]) -> Frame {
    Frame { fin, opcode, payload: payload.to_vec() }
}

fn from_server(bytes: &[u8]) -> Result<Vec<Message>, WebSocketError> {
    MessageReader::new(From::Server, 1000).push(bytes)
}

fn sent(frames: &[(Opcode, bool, &[u8])]) -> Vec<u8> {
    frames.iter().flat_map(|(opcode, fin, payload)| encode(&frame(*opcode, *fin, payload), None)).collect()
}

/// RFC 6455, section 5.7.
#[test]
fn the_examples_of_the_rfc_are_read() {
    let hello = Message::Text("Hello".into());
    assert_eq!(from_server(b"\x81\x05Hello"), Ok(vec![hello.clone()]));
    let masked = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    assert_eq!(MessageReader::new(From::Client, 9).push(masked), Ok(vec![hello.clone()]));
    assert_eq!(encode(&frame(Opcode::Text, true, b"Hello"), MASK), masked);
    assert_eq!(from_server(b"\x01\x03Hel\x80\x02lo"), Ok(vec![hello]));
    assert_eq!(from_server(b"\x89\x05Hello"), Ok(vec![Message::Ping(b"Hello".to_vec())]));
    let mut long = vec![0x82, 0x7e, 1, 0];
    long.extend([7; 256]);
    assert_eq!(from_server(&long), Ok(vec![Message::Binary(vec![7; 256])]));
    let mut longer = vec![0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0];
    longer.extend([7; 65536]);
    assert_eq!(
        MessageReader::new(From::Server, 65536).push(&longer),
        Ok(vec![Message::Binary(vec![7; 65536])])
    );
    assert_eq!(encode(&frame(Opcode::Binary, true, &[7; 65536]), None), longer);
}

/// The cases ws-dlp-multi-fragment-secret and ws-dlp-cross-message: inspection sees whole texts, in order.
#[test]
fn a_secret_in_fragments_is_seen_whole() {
    let bytes = sent(&[
        (Opcode::Text, false, b"sk-test-"),
        (Opcode::Ping, true, b"between"),
        (Opcode::Continuation, false, b"4eC39HqLyj"),
        (Opcode::Continuation, true, b"WDarjtT1zdp7dc"),
        (Opcode::Text, true, b"part2"),
    ]);
    let expected = vec![
        Message::Ping(b"between".to_vec()),
        Message::Text("sk-test-4eC39HqLyjWDarjtT1zdp7dc".into()),
        Message::Text("part2".into()),
    ];
    assert_eq!(from_server(&bytes), Ok(expected.clone()));
    let mut reader = MessageReader::new(From::Server, 1000);
    let one_by_one: Vec<_> = bytes.iter().flat_map(|b| reader.push(&[*b]).unwrap()).collect();
    assert_eq!(one_by_one, expected);
}

#[test]
fn what_breaks_the_protocol_is_refused() {
    for (bytes, error) in [
        (b"\xc1".as_slice(), WebSocketError::ReservedBit),
        (b"\xa1", WebSocketError::ReservedBit),
        (b"\x91", WebSocketError::ReservedBit),
        (b"\x83", WebSocketError::Opcode),
        (b"\x8b", WebSocketError::Opcode),
        (b"\x81\x80", WebSocketError::Masked),
        (b"\x09\x00", WebSocketError::Control),
        (b"\x89\x7e", WebSocketError::Control),
        (b"\x81\x7e\x00\x7d", WebSocketError::Length),
        (b"\x81\x7f\x00\x00\x00\x00\x00\x00\xff\xff", WebSocketError::Length),
        (b"\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x00", WebSocketError::Length),
        (b"\x81\x7e\x03\xe9", WebSocketError::FrameTooLong),
        (b"\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", WebSocketError::FrameTooLong),
        (b"\x80\x01a", WebSocketError::Fragment),
        (b"\x01\x01a\x81\x01b", WebSocketError::Fragment),
        (b"\x81\x02\xc3\x28", WebSocketError::NotUtf8),
        (b"\x88\x01\x03", WebSocketError::CloseCode),
        (b"\x88\x02\x03\xe7", WebSocketError::CloseCode),
        (b"\x88\x02\x03\xed", WebSocketError::CloseCode),
        (b"\x88\x02\x13\x88", WebSocketError::CloseCode),
        (b"\x88\x04\x03\xe8\xc3\x28", WebSocketError::NotUtf8),
        (b"\x88\x00\x81\x01a", WebSocketError::AfterClose),
    ] {
        assert_eq!(from_server(bytes), Err(error), "{bytes:x?}");
    }
    assert_eq!(FrameReader::new(From::Client, 9).push(b"\x81\x05Hello"), Err(WebSocketError::NotMasked));
    assert_eq!(from_server(b"\x88\x00"), Ok(vec![Message::Close(None)]));
    assert_eq!(from_server(b"\x88\x04\x03\xe8ok"), Ok(vec![Message::Close(Some((1000, "ok".into())))]));
}

#[test]
fn a_broken_stream_stays_broken() {
    let mut reader = FrameReader::new(From::Server, 10);
    assert!(reader.push(b"\xff").is_err());
    assert_eq!(reader.push(b"\x81\x01a"), Err(WebSocketError::Broken));
    assert!(!reader.is_at_boundary());
    let mut messages = MessageReader::new(From::Server, 10);
    assert!(messages.push(b"\x80\x00").is_err());
    assert_eq!(messages.push(b"\x81\x01a"), Err(WebSocketError::Broken));
}

#[test]
fn a_message_of_many_frames_is_bounded() {
    let mut reader = MessageReader::new(From::Server, 10);
    assert_eq!(reader.push(&sent(&[(Opcode::Binary, false, &[0; 8])])), Ok(vec![]));
    assert_eq!(reader.push(&sent(&[(Opcode::Continuation, false, &[0; 2])])), Ok(vec![]));
    assert_eq!(
        reader.push(&sent(&[(Opcode::Continuation, false, &[0])])),
        Err(WebSocketError::MessageTooLong)
    );
}

proptest! {
    #[test]
    fn what_is_written_is_read_however_it_is_cut(
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..5),
        mask: Option<[u8; 4]>, cut in 1usize..50,
    ) {
        let frames: Vec<_> = payloads.iter().map(|p| frame(Opcode::Binary, true, p)).collect();
        let bytes: Vec<u8> = frames.iter().flat_map(|f| encode(f, mask)).collect();
        let mut reader = FrameReader::new(if mask.is_some() { From::Client } else { From::Server }, 300);
        let read: Vec<_> = bytes.chunks(cut).flat_map(|part| reader.push(part).unwrap()).collect();
        prop_assert_eq!(read, frames);
        prop_assert!(reader.is_at_boundary());
    }

    #[test]
    fn any_bytes_are_read_alike_in_one_piece_and_in_many(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let whole = FrameReader::new(From::Server, 50).push(&bytes);
        let mut reader = FrameReader::new(From::Server, 50);
        let parts: Result<Vec<_>, _> = bytes.iter().map(|b| reader.push(&[*b])).collect();
        prop_assert_eq!(whole, parts.map(|p| p.concat()));
    }
}
