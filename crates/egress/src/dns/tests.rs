use super::*;
use hickory_proto::rr::rdata::svcb::{Alpn, EchConfigList, IpHint, Mandatory};
use hickory_proto::rr::rdata::{HTTPS, NULL, TXT};
use proptest::prelude::*;

/// A query by hand: id 0x1234, recursion desired.
fn query(labels: &[&[u8]], kind: u16, class: u16, edns: Option<u16>) -> Vec<u8> {
    let mut out = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns.is_some())];
    for label in labels {
        out.push(label.len() as u8);
        out.extend(*label);
    }
    out.push(0);
    out.extend(kind.to_be_bytes());
    out.extend(class.to_be_bytes());
    if let Some(size) = edns {
        out.extend([0, 0, 41]);
        out.extend(size.to_be_bytes());
        out.extend([0, 0, 0, 0, 0, 0]);
    }
    out
}

fn usual(edns: Option<u16>) -> Query {
    Query::parse(&query(&[b"wWw", b"eXample", b"com"], 1, 1, edns)).unwrap()
}

fn answered(query: &Query, answer: &Answer, over: Transport) -> Message {
    Message::from_vec(&query.answer(answer, over)).unwrap()
}

fn addresses(count: u8) -> Answer {
    let ips = (0..count).map(|n| IpAddr::from([198, 51, 100, n])).collect();
    Answer::Addresses { ips, ttl_seconds: 60 }
}

#[test]
fn a_question_is_read_in_its_canonical_form() {
    let query = usual(None);
    assert_eq!(
        query.question,
        Question { name: Host::parse("www.example.com").unwrap(), kind: RecordType::A }
    );
    let bytes = super::tests::query(&[b"_acme-challenge", b"example", b"com"], 16, 1, Some(1400));
    assert_eq!(Query::parse(&bytes).unwrap().question.kind, RecordType::TXT);
    let bytes = super::tests::query(&[b"example", b"com"], 65399, 1, None);
    assert_eq!(Query::parse(&bytes).unwrap().question.kind, RecordType::Unknown(65399));
}

#[test]
fn what_is_no_plain_query_is_refused() {
    let good = query(&[b"a", b"com"], 1, 1, None);
    let changed = |at: usize, to: u8| {
        let mut bytes = good.clone();
        bytes[at] = to;
        Query::parse(&bytes).map(|q| q.question)
    };
    assert!(changed(0, 0).is_ok());
    assert_eq!(changed(2, 0x81), Err(DnsError::Response));
    for opcode in 1..16 {
        assert_eq!(changed(2, opcode << 3), Err(DnsError::Opcode));
    }
    for (at, to) in [(5, 0), (5, 2), (4, 1), (7, 1), (9, 1), (11, 2), (10, 1)] {
        assert_eq!(changed(at, to), Err(DnsError::Counts));
    }
    assert_eq!(changed(11, 1), Err(DnsError::Malformed), "no OPT is there");
    for (bytes, error) in [
        (vec![], DnsError::TooShort),
        (good[..11].to_vec(), DnsError::TooShort),
        (good[..14].to_vec(), DnsError::Malformed),
        ([good.clone(), vec![0]].concat(), DnsError::Trailing),
        (vec![0; 1025], DnsError::TooLong),
        (query(&[b"a", b"com"], 1, 3, None), DnsError::Class),
        (query(&[b"a", b"com"], 1, 255, None), DnsError::Class),
        (query(&[b"a", b"com"], 252, 1, None), DnsError::Kind),
        (query(&[b"a", b"com"], 251, 1, None), DnsError::Kind),
        (query(&[b"a", b"com"], 41, 1, None), DnsError::Kind),
        (query(&[b"a", b"com"], 0, 1, None), DnsError::Kind),
        (query(&[], 2, 1, None), DnsError::Name(HostError::Empty)),
        (query(&[b"a.b", b"com"], 1, 1, None), DnsError::Name(HostError::Character)),
        (query(&[b"a\0", b"com"], 1, 1, None), DnsError::Name(HostError::Character)),
        (query(&[b"\xff", b"com"], 1, 1, None), DnsError::Name(HostError::Character)),
        (query(&["ü".as_bytes(), b"com"], 1, 1, None), DnsError::Name(HostError::Character)),
        (query(&[b"a b", b"com"], 1, 1, None), DnsError::Name(HostError::Character)),
        (query(&[b"*", b"com"], 1, 1, None), DnsError::Name(HostError::Character)),
        (query(&[b"127", b"0", b"0", b"1"], 1, 1, None), DnsError::NameIsAddress),
        (query(&[b"0x7f000001"], 1, 1, None), DnsError::NameIsAddress),
    ] {
        assert_eq!(Query::parse(&bytes).map(|q| q.question), Err(error), "{bytes:x?}");
    }
    let mut version = query(&[b"a", b"com"], 1, 1, Some(512));
    let at = version.len() - 5;
    version[at] = 1;
    assert_eq!(Query::parse(&version).map(|q| q.question), Err(DnsError::EdnsVersion));
    // A name that points at itself.
    let looped = [&good[..12], &[0xc0, 12, 0, 1, 0, 1]].concat();
    assert_eq!(Query::parse(&looped).map(|q| q.question), Err(DnsError::Malformed));
}

#[test]
fn answers_carry_the_question_as_it_came() {
    let query = usual(None);
    let message = answered(&query, &addresses(2), Transport::Udp);
    assert_eq!((message.metadata.id, message.metadata.message_type), (0x1234, MessageType::Response));
    assert!(message.metadata.recursion_desired && message.metadata.recursion_available);
    assert_eq!(message.queries[0].name.to_ascii(), "wWw.eXample.com.");
    assert_eq!(message.answers.len(), 2);
    assert_eq!(message.answers[0].ttl, 60);
    assert!(message.edns.is_none());
    assert!(answered(&usual(Some(4096)), &Answer::NoData, Transport::Udp).edns.is_some());
}

#[test]
fn each_outcome_has_its_code() {
    for (answer, code) in [
        (Answer::NoData, ResponseCode::NoError),
        (Answer::NxDomain, ResponseCode::NXDomain),
        (Answer::Refused, ResponseCode::Refused),
        (Answer::ServFail, ResponseCode::ServFail),
    ] {
        let message = answered(&usual(None), &answer, Transport::Tcp);
        assert_eq!((message.metadata.response_code, message.answers.len()), (code, 0));
    }
    let v6 = Answer::Addresses { ips: vec!["2606:4700::1".parse().unwrap()], ttl_seconds: 1 };
    assert!(answered(&usual(None), &v6, Transport::Udp).answers.is_empty(), "asked for A");
}

#[test]
fn a_long_answer_is_cut_for_udp_alone() {
    for (edns, count, cut) in [
        (None, 28, false),
        (None, 31, true),
        (Some(100), 31, true),
        (Some(900), 50, false),
        (Some(9000), 80, true),
    ] {
        let message = answered(&usual(edns), &addresses(count), Transport::Udp);
        assert_eq!(message.metadata.truncation, cut, "{edns:?} {count}");
        assert_eq!(message.answers.len(), if cut { 0 } else { usize::from(count) });
    }
    assert_eq!(answered(&usual(None), &addresses(250), Transport::Tcp).answers.len(), 250);
    let txt = Record::from_rdata(Name::root(), 1, RData::TXT(TXT::new(vec!["x".repeat(250)])));
    let message = answered(&usual(None), &Answer::Records(vec![txt; 400]), Transport::Tcp);
    assert_eq!(message.metadata.response_code, ResponseCode::ServFail);
}

#[test]
fn refused_messages_get_a_bare_reply() {
    let bytes = query(&[b"a", b"com"], 252, 1, None);
    let reply = Message::from_vec(&reply_to_refused(&bytes, DnsError::Kind).unwrap()).unwrap();
    assert_eq!((reply.metadata.id, reply.metadata.response_code), (0x1234, ResponseCode::Refused));
    assert!(reply.queries.is_empty());
    assert_eq!(reply_to_refused(&bytes[..11], DnsError::TooShort), None);
    let mut response = bytes;
    response[2] = 0x80;
    assert_eq!(reply_to_refused(&response, DnsError::TooLong), None, "no loop of replies");
}

#[test]
fn nothing_leads_past_the_broker() {
    let alpn = (SvcParamKey::Alpn, SvcParamValue::Alpn(Alpn(vec!["h2".into()])));
    let ech = (SvcParamKey::EchConfigList, SvcParamValue::EchConfigList(EchConfigList(vec![1, 2])));
    let hint = (SvcParamKey::Ipv4Hint, SvcParamValue::Ipv4Hint(IpHint(vec![A::new(192, 0, 2, 1)])));
    let mandatory = |key| (SvcParamKey::Mandatory, SvcParamValue::Mandatory(Mandatory(vec![key])));
    let https = |params: Vec<_>| {
        Record::from_rdata(Name::root(), 1, RData::HTTPS(HTTPS(SVCB::new(1, Name::root(), params))))
    };
    let kept = without_ech(vec![https(vec![alpn.clone(), hint, ech.clone()])]);
    assert_eq!(kept, [https(vec![alpn.clone()])]);
    assert!(without_ech(vec![https(vec![mandatory(SvcParamKey::EchConfigList), ech])]).is_empty());
    assert_eq!(without_ech(vec![https(vec![mandatory(SvcParamKey::Alpn), alpn])]).len(), 1);
    let unknown = RData::Unknown { code: RecordType::HTTPS, rdata: NULL::with(vec![0, 1]) };
    assert!(without_ech(vec![Record::from_rdata(Name::root(), 1, unknown)]).is_empty());
    let a = Record::from_rdata(Name::root(), 1, RData::A(A::new(192, 0, 2, 1)));
    assert_eq!(without_ech(vec![a.clone()]), [a]);
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..200), header: bool, count in 0u8..60,
    ) {
        if header && bytes.len() >= 12 {
            bytes[2..12].copy_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        }
        match Query::parse(&bytes) {
            Ok(query) => {
                let answer = query.answer(&addresses(count), Transport::Udp);
                prop_assert!(!answer.is_empty() && answer.len() <= 1232);
            }
            Err(error) => {
                let _ = reply_to_refused(&bytes, error);
            }
        }
    }

    #[test]
    fn any_name_is_read(labels in proptest::collection::vec("[a-z0-9_]{1,20}", 1..10), kind in 1u16..40) {
        let wire: Vec<&[u8]> = labels.iter().map(String::as_bytes).collect();
        let parsed = Query::parse(&query(&wire, kind, 1, Some(1232))).map(|q| q.question.name);
        match Host::parse(&labels.join(".")) {
            Ok(Host::Address(_)) => prop_assert_eq!(parsed, Err(DnsError::NameIsAddress)),
            expected => prop_assert_eq!(parsed, expected.map_err(DnsError::Name)),
        }
    }
}
