//! Any bytes as the start of a TLS stream: a hello says the same whatever follows it, and nothing less than it does.
#![no_main]

use chaperone_egress::Host;
use chaperone_egress::client_hello::{MAX_HELLO_BYTES, Read, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let result = read(data);
    match &result {
        Ok(Read::Hello(hello)) => {
            assert!(hello.len <= data.len());
            assert_eq!(read(&data[..hello.len]), result, "what follows the hello changes it");
            assert_eq!(read(&data[..hello.len - 1]), Ok(Read::NeedMore));
            if let Some(name) = &hello.server_name {
                assert!(name.name().is_some(), "an address as the name");
                assert_eq!(Host::parse(&name.to_string()).as_ref(), Ok(name), "not in its canonical form");
            }
            assert!(hello.alpn.iter().all(|p| !p.is_empty() && p.len() < 256));
        }
        Ok(Read::NeedMore) => assert!(data.len() < MAX_HELLO_BYTES, "it waits without end"),
        // More bytes do not make it good.
        Ok(Read::NotTls) | Err(_) => {
            let more = [data, &[0; 8]].concat();
            assert!(!matches!(read(&more), Ok(Read::Hello(_) | Read::NeedMore)));
        }
    }
});
