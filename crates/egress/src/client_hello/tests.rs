use super::*;
use proptest::prelude::*;
use std::sync::Arc;

/// What rustls sends.
fn rustls_hello(
    name: &str,
    alpn: &[&str],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    let name = rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut out = Vec::new();
    client.write_tls(&mut out).unwrap();
    out
}

fn usual() -> Vec<u8> {
    rustls_hello("api.example.com", &["h2", "http/1.1"], rustls::ALL_VERSIONS)
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    let mut out = kind.to_be_bytes().to_vec();
    out.extend((data.len() as u16).to_be_bytes());
    out.extend(data);
    out
}

fn sni(entries: &[(u8, &[u8])]) -> Vec<u8> {
    let mut list = Vec::new();
    for (kind, name) in entries {
        list.push(*kind);
        list.extend((name.len() as u16).to_be_bytes());
        list.extend(*name);
    }
    let mut data = (list.len() as u16).to_be_bytes().to_vec();
    data.extend(list);
    extension(0, &data)
}

/// A handshake message with these extensions.
fn message(extensions: Option<&[Vec<u8>]>) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(0);
    body.extend([0, 2, 0x13, 1, 1, 0]);
    if let Some(extensions) = extensions {
        let all = extensions.concat();
        body.extend((all.len() as u16).to_be_bytes());
        body.extend(all);
    }
    let mut out = vec![1];
    out.extend(&(body.len() as u32).to_be_bytes()[1..]);
    out.extend(body);
    out
}

fn records(message: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for part in message.chunks(size) {
        out.extend([22, 3, 1]);
        out.extend((part.len() as u16).to_be_bytes());
        out.extend(part);
    }
    out
}

fn of(extensions: &[Vec<u8>]) -> Result<Read, Malformed> {
    read(&records(&message(Some(extensions)), 16_000))
}

fn hello(read: Result<Read, Malformed>) -> ClientHello {
    match read {
        Ok(Read::Hello(hello)) => hello,
        other => panic!("{other:?}"),
    }
}

#[test]
fn hellos_of_rustls_are_read() {
    for versions in [rustls::ALL_VERSIONS, &[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        let bytes = rustls_hello("api.example.com", &["h2", "http/1.1"], versions);
        let hello = hello(read(&bytes));
        assert_eq!(hello.server_name, Some(Host::Name("api.example.com".into())));
        assert_eq!(hello.alpn, [b"h2".to_vec(), b"http/1.1".to_vec()]);
        assert_eq!(hello.len, bytes.len());
        assert!(!hello.ech && !hello.early_data);
    }
    let to_address = hello(read(&rustls_hello("192.0.2.1", &[], rustls::ALL_VERSIONS)));
    assert_eq!(to_address.server_name, None, "an address is not put into the name");
}

/// Captured from OpenSSL 3.0 (`s_client`), curl and Python's ssl.
#[test]
fn hellos_of_other_libraries_are_read() {
    for (bytes, alpn) in [
        (include_bytes!("captured/openssl-tls13").as_slice(), &[b"h2".to_vec()][..]),
        (include_bytes!("captured/openssl-tls12"), &[]),
        (include_bytes!("captured/openssl-tls10"), &[]),
        (include_bytes!("captured/curl"), &[b"h2".to_vec(), b"http/1.1".to_vec()]),
        (include_bytes!("captured/python"), &[]),
    ] {
        let hello = hello(read(bytes));
        assert_eq!(hello.server_name, Some(Host::Name("capture.example.com".into())));
        assert_eq!(hello.alpn, alpn);
        assert_eq!(hello.len, bytes.len());
    }
}

#[test]
fn every_beginning_needs_more_and_what_follows_does_not_count() {
    let mut bytes = usual();
    let len = bytes.len();
    for end in 0..len {
        assert_eq!(read(&bytes[..end]), Ok(Read::NeedMore), "{end}");
    }
    bytes.extend(b"\x14\x03\x03\x00\x01\x01");
    assert_eq!(hello(read(&bytes)).len, len);
}

#[test]
fn a_message_in_pieces_is_put_together() {
    let whole = usual();
    for size in [5, 6, 40, 100, 511] {
        let pieces = records(&whole[5..], size);
        let result = read(&pieces);
        if whole.len() / size >= MAX_RECORDS {
            assert_eq!(result, Err(Malformed::TooManyRecords));
        } else {
            let hello = hello(result);
            assert_eq!(hello.server_name, Some(Host::Name("api.example.com".into())));
            assert_eq!(hello.len, pieces.len());
        }
    }
}

#[test]
fn other_protocols_are_not_tls() {
    for bytes in
        [b"GET / HTTP/1.1\r\n".as_slice(), b"SSH-2.0-x", &[0x80, 0x2e, 1, 3, 1], &[22, 2, 0], &[21, 3, 1]]
    {
        assert_eq!(read(bytes), Ok(Read::NotTls));
    }
}

#[test]
fn extensions_say_what_they_are() {
    let hello = hello(of(&[extension(0xfe0d, &[0]), extension(42, &[]), sni(&[(0, b"A.Example.COM")])]));
    assert!(hello.ech && hello.early_data);
    assert_eq!(hello.server_name, Some(Host::Name("a.example.com".into())));
    assert_eq!(read(&records(&message(None), 99)).map(|r| matches!(r, Read::Hello(_))), Ok(true));
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    let name = |n: &[u8]| of(&[sni(&[(0, n)])]);
    assert_eq!(name(b"192.0.2.1"), Err(Malformed::NameIsAddress));
    assert_eq!(name(b"0x7f.1"), Err(Malformed::NameIsAddress));
    assert_eq!(name(b"[::1]"), Err(Malformed::NameIsAddress));
    assert_eq!(name(b"a.com\0.b.com"), Err(Malformed::Name(HostError::Character)));
    assert_eq!(name(b"a b.com"), Err(Malformed::Name(HostError::Character)));
    assert_eq!(name("b\u{fc}cher.de".as_bytes()), Err(Malformed::Name(HostError::Character)));
    assert_eq!(name(b"\xff.com"), Err(Malformed::Name(HostError::Character)));
    assert_eq!(name(b""), Err(Malformed::Name(HostError::Empty)));
    assert_eq!(of(&[sni(&[])]), Err(Malformed::NameList));
    assert_eq!(of(&[sni(&[(0, b"a.com"), (0, b"b.com")])]), Err(Malformed::NameList));
    assert_eq!(of(&[sni(&[(1, b"a.com")])]), Err(Malformed::NameList));
    assert_eq!(of(&[sni(&[(0, b"a.com")]), sni(&[(0, b"a.com")])]), Err(Malformed::DuplicateExtension));
    assert_eq!(of(&[extension(77, &[]), extension(77, &[])]), Err(Malformed::DuplicateExtension));
    assert_eq!(of(&[extension(16, &[0, 0])]), Err(Malformed::Length));
    assert_eq!(of(&[extension(16, &[0, 1, 0])]), Err(Malformed::Length));
    assert_eq!(of(&[extension(16, &[0, 3, 1, b'a'])]), Err(Malformed::Length));
    assert_eq!(of(&[extension(0, &[])]), Err(Malformed::Length));
    let twice = [message(None), message(None)].concat();
    assert_eq!(read(&records(&twice, 16_000)), Err(Malformed::Length));
    let mut short = message(Some(&[]));
    short[3] -= 1;
    assert_eq!(read(&records(&short, 16_000)), Err(Malformed::Length));
}

#[test]
fn nothing_grows_without_bound() {
    assert_eq!(read(&[22, 3, 1, 0, 0, 0]), Err(Malformed::Record));
    assert_eq!(read(&[22, 3, 1, 0x40, 1, 1]), Err(Malformed::Record));
    assert_eq!(read(&[22, 3, 9, 0, 4, 1]), Err(Malformed::Record));
    assert_eq!(read(&[22, 3, 1, 0, 4, 2, 0, 0, 0]), Err(Malformed::NotHello));
    assert_eq!(read(&[22, 3, 1, 0, 4, 1, 1, 0, 1]), Err(Malformed::TooLong));
    assert_eq!(read(&[22, 3, 1, 0, 2, 1, 0, 21, 3, 1, 0, 1, 0]), Err(Malformed::Interleaved));
    let mut slow = vec![1, 0, 0xff, 0xff];
    slow.resize(4 + 0xffff, 0);
    let bytes = records(&slow, 1 << 14);
    assert_eq!(read(&bytes[..MAX_HELLO_BYTES]), Err(Malformed::TooLong));
    assert_eq!(read(&records(&slow[..200], 1)), Err(Malformed::TooManyRecords));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(at in 0usize..600, with: [u8; 3], cut in 0usize..600) {
        let mut bytes = usual();
        let len = bytes.len();
        for (n, byte) in with.into_iter().enumerate() {
            bytes[(at + n * 7) % len] = byte;
        }
        bytes.truncate(len.saturating_sub(cut % 40));
        if let Ok(Read::Hello(hello)) = read(&bytes) {
            prop_assert!(hello.len <= bytes.len());
        }
    }
}
