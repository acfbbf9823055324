//! Any bytes as the start of a conversation with the proxy: a head says the same whatever follows it, and nothing less than
//! it does; a host is in its canonical form.
#![no_main]

use chaperone_egress::Host;
use chaperone_egress::proxy_head::{Destination, Http, MAX_HEAD_BYTES, http, socks_greeting, socks_request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let canonical = |to: &Destination| {
        assert_eq!(Host::parse(&to.host.to_string()).as_ref(), Ok(&to.host), "not in its canonical form");
        assert_ne!(to.port, 0);
    };
    let result = http(data);
    match &result {
        Ok(Some(Http::Connect { to, length })) => {
            canonical(to);
            assert_eq!(http(&data[..*length]), result, "what follows the head changes it");
            assert_eq!(http(&data[..length - 1]), Ok(None));
        }
        Ok(Some(Http::Absolute { to })) => canonical(to),
        Ok(None) => assert!(data.len() < MAX_HEAD_BYTES, "it waits without end"),
        // More bytes do not make it good.
        Err(e) => assert_eq!(http(&[data, b"\r\n\r\n"].concat()), Err(*e)),
    }
    match socks_request(data) {
        Ok(Some((to, length))) => {
            canonical(&to);
            assert_eq!(socks_request(&data[..length]), Ok(Some((to, length))));
            assert_eq!(socks_request(&data[..length - 1]), Ok(None));
        }
        Ok(None) => assert!(data.len() < 4 + 1 + 255 + 2, "it waits without end"),
        Err(_) => {}
    }
    match socks_greeting(data) {
        Ok(Some(length)) => assert_eq!(socks_greeting(&data[..length]), Ok(Some(length))),
        Ok(None) => assert!(data.len() < 2 + 255, "it waits without end"),
        Err(_) => {}
    }
});
