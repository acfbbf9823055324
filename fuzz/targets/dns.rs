//! Any bytes as a DNS query: parsed, judged by the watch, answered in every way within the size that the asker takes.
#![no_main]

use std::net::IpAddr;

use chaperone_egress::dns::{Answer, DnsError, MAX_UDP_ANSWER_BYTES, Query, Transport, reply_to_refused};
use chaperone_egress::{Host, QueryWatch, registered_domain};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let query = match Query::parse(data) {
        Ok(query) => query,
        Err(error) => {
            let reply = reply_to_refused(data, error);
            assert!(reply.as_ref().is_none_or(|r| r.len() == 12 && r[..2] == data[..2] && r[2] & 0x80 != 0));
            assert!(error != DnsError::Response || reply.is_none(), "a reply to a reply");
            return;
        }
    };
    let name = &query.question.name;
    assert!(name.name().is_some(), "an address was asked for");
    assert_eq!(Host::parse(&name.to_string()).as_ref(), Ok(name), "not in its canonical form");
    let domain = registered_domain(name).expect("a name has a domain");
    assert!(name.to_string().ends_with(domain));
    let mut watch = QueryWatch::default();
    for now_ms in [5, 0, u64::MAX] {
        let _ = watch.query(domain, name, query.question.kind, now_ms);
    }
    let ips = |count: u8| (0..count).map(|n| IpAddr::from([192, 0, 2, n])).collect();
    for answer in [
        Answer::Addresses { ips: ips(data[0]), ttl_seconds: 60 },
        Answer::NoData,
        Answer::NxDomain,
        Answer::Refused,
        Answer::ServFail,
    ] {
        let udp = query.answer(&answer, Transport::Udp);
        assert!(udp.len() > 12 && udp.len() <= usize::from(MAX_UDP_ANSWER_BYTES));
        assert_eq!(udp[..2], data[..2]);
        assert_eq!(Query::parse(&udp).map(|q| q.question), too_long(&udp));
        assert!(query.answer(&answer, Transport::Tcp).len() >= udp.len());
    }
});

/// What a reader says to an answer that is longer than a query may be.
fn too_long(bytes: &[u8]) -> Result<chaperone_egress::dns::Question, DnsError> {
    Err(if bytes.len() > chaperone_egress::dns::MAX_QUERY_BYTES {
        DnsError::TooLong
    } else {
        DnsError::Response
    })
}
