//! One DNS query from the cell, and the broker's answers to it (RFC 1035, RFC 6891, RFC 9460).
//!
//! The broker resolves names itself: nothing of the cell's message leaves but the name and the type, and only when policy
//! lets them. So a query is taken apart here and an answer is made anew.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query as WireQuestion, ResponseCode};
use hickory_proto::rr::rdata::svcb::{SVCB, SvcParamKey, SvcParamValue};
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{DNSClass, Name, RData};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

pub use hickory_proto::rr::{Record, RecordType};

use crate::host::{Host, HostError};

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question {
    /// Always a `Host::Name`.
    pub name: Host,
    pub kind: RecordType,
}

/// A query that can be answered.
#[derive(Debug, Clone)]
pub struct Query {
    pub question: Question,
    id: u16,
    recursion_desired: bool,
    /// The question as it came: resolvers check that its letter case comes back.
    wire: WireQuestion,
    /// The size of a UDP answer that the asker takes, when it speaks EDNS.
    edns_payload: Option<u16>,
}

/// Why a message is not a query to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DnsError {
    #[error("the DNS message is shorter than its header")]
    TooShort,
    #[error("the DNS query is longer than {MAX_QUERY_BYTES} bytes")]
    TooLong,
    #[error("the DNS message is a response")]
    Response,
    #[error("the DNS message is no standard query")]
    Opcode,
    #[error("the DNS query does not have exactly one question and nothing else but EDNS")]
    Counts,
    #[error("the DNS query cannot be decoded")]
    Malformed,
    #[error("bytes follow the DNS query")]
    Trailing,
    #[error("the DNS query speaks an unknown version of EDNS")]
    EdnsVersion,
    #[error("the DNS question is not of class IN")]
    Class,
    #[error("the DNS question asks for a zone transfer or for what is no record")]
    Kind,
    #[error("the DNS question does not name a host: {0}")]
    Name(HostError),
    #[error("the DNS question names an address")]
    NameIsAddress,
}

/// What to answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Those of the addresses that are of the type asked for, valid for so many seconds; none of that type is NODATA.
    Addresses {
        ips: Vec<IpAddr>,
        ttl_seconds: u32,
    },
    /// Records as a resolver gave them; pass them through [`without_ech`] first.
    Records(Vec<Record>),
    /// The name exists, nothing of the type does.
    NoData,
    NxDomain,
    /// Policy says no.
    Refused,
    ServFail,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

/// A name of 255 bytes, EDNS with cookie and padding to 128 (RFC 8467) stay well below.
pub const MAX_QUERY_BYTES: usize = 1024;

/// The largest UDP answer, whatever the asker takes: what fits everywhere without fragments (DNS flag day 2020).
pub const MAX_UDP_ANSWER_BYTES: u16 = 1232;

impl Query {
    /// Reads one message, without the length that TCP puts before it.
    pub fn parse(bytes: &[u8]) -> Result<Self, DnsError> {
        if bytes.len() > MAX_QUERY_BYTES {
            return Err(DnsError::TooLong);
        }
        let Some(header) = bytes.first_chunk::<12>() else { return Err(DnsError::TooShort) };
        let [_, _, flags, _, counts @ ..] = *header;
        if flags & 0x80 != 0 {
            return Err(DnsError::Response);
        }
        if flags & 0x78 != 0 {
            return Err(DnsError::Opcode);
        }
        // Checked before anything is decoded, so that no count makes the decoder work.
        if !matches!(counts, [0, 1, 0, 0, 0, 0, 0, 0 | 1]) {
            return Err(DnsError::Counts);
        }
        let mut decoder = BinDecoder::new(bytes);
        let mut message = Message::read(&mut decoder).map_err(|_| DnsError::Malformed)?;
        if !decoder.is_empty() {
            return Err(DnsError::Trailing);
        }
        if !message.additionals.is_empty() || message.signature.is_some() {
            return Err(DnsError::Counts);
        }
        if message.edns.as_ref().is_some_and(|edns| edns.version() != 0) {
            return Err(DnsError::EdnsVersion);
        }
        let wire = message.queries.pop().ok_or(DnsError::Counts)?;
        if wire.query_class != DNSClass::IN {
            return Err(DnsError::Class);
        }
        if matches!(u16::from(wire.query_type), 0 | 41 | 249..=254) {
            return Err(DnsError::Kind);
        }
        Ok(Self {
            question: Question { name: host_of(&wire.name)?, kind: wire.query_type },
            id: message.metadata.id,
            recursion_desired: message.metadata.recursion_desired,
            edns_payload: message.edns.as_ref().map(Edns::max_payload),
            wire,
        })
    }

    /// The bytes of an answer. Over UDP one that is longer than the asker takes comes back empty with the mark that makes it
    /// ask again over TCP.
    pub fn answer(&self, answer: &Answer, over: Transport) -> Vec<u8> {
        let mut message = self.response();
        match answer {
            Answer::Addresses { ips, ttl_seconds } => {
                message.answers = ips.iter().filter_map(|ip| self.address(*ip, *ttl_seconds)).collect();
            }
            Answer::Records(records) => message.answers.clone_from(records),
            Answer::NoData => {}
            Answer::NxDomain => message.metadata.response_code = ResponseCode::NXDomain,
            Answer::Refused => message.metadata.response_code = ResponseCode::Refused,
            Answer::ServFail => message.metadata.response_code = ResponseCode::ServFail,
        }
        let limit = match over {
            Transport::Tcp => usize::from(u16::MAX),
            Transport::Udp => {
                let payload = self.edns_payload.unwrap_or(MIN_UDP_ANSWER_BYTES);
                usize::from(payload.clamp(MIN_UDP_ANSWER_BYTES, MAX_UDP_ANSWER_BYTES))
            }
        };
        // The encoder cuts by itself at 64 KiB, and says so with the mark.
        let is_cut = |bytes: &[u8]| bytes.get(2).is_some_and(|flags| flags & 2 != 0);
        let whole = message.to_vec().ok().filter(|bytes| bytes.len() <= limit && !is_cut(bytes));
        whole.unwrap_or_else(|| {
            // Over TCP there is nothing larger to turn to.
            match over {
                Transport::Udp => message.metadata.truncation = true,
                Transport::Tcp => message.metadata.response_code = ResponseCode::ServFail,
            }
            message.answers = Vec::new();
            message.to_vec().unwrap_or_default()
        })
    }

    fn response(&self) -> Message {
        let mut message = Message::response(self.id, OpCode::Query);
        message.metadata.recursion_desired = self.recursion_desired;
        message.metadata.recursion_available = true;
        message.add_query(self.wire.clone());
        if self.edns_payload.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(MAX_UDP_ANSWER_BYTES);
            message.set_edns(edns);
        }
        message
    }

    fn address(&self, ip: IpAddr, ttl_seconds: u32) -> Option<Record> {
        let data = match (ip, self.question.kind) {
            (IpAddr::V4(ip), RecordType::A) => RData::A(A(ip)),
            (IpAddr::V6(ip), RecordType::AAAA) => RData::AAAA(AAAA(ip)),
            _ => return None,
        };
        Some(Record::from_rdata(self.wire.name.clone(), ttl_seconds, data))
    }
}

/// The reply to a message that [`Query::parse`] refused: a bare header, nothing of the message but its id. None where a reply
/// would be wrong, to a response or to less than a header.
pub fn reply_to_refused(bytes: &[u8], error: DnsError) -> Option<Vec<u8>> {
    let (Some([a, b, flags, _, ..]), false) = (bytes.first_chunk::<12>(), error == DnsError::Response) else {
        return None;
    };
    if flags & 0x80 != 0 {
        return None;
    }
    let code = match error {
        DnsError::Opcode => ResponseCode::NotImp,
        DnsError::Class | DnsError::Kind | DnsError::Name(_) | DnsError::NameIsAddress => {
            ResponseCode::Refused
        }
        _ => ResponseCode::FormErr,
    };
    let mut message = Message::new(u16::from_be_bytes([*a, *b]), MessageType::Response, OpCode::Query);
    message.metadata.response_code = code;
    message.to_vec().ok()
}

/// The records without what would lead a client past the broker: keys for an encrypted ClientHello, which hide the name
/// from it, and address hints of HTTPS and SVCB records, which nobody checked. A record that insists on one of them, or that
/// could not be decoded, is dropped.
pub fn without_ech(records: Vec<Record>) -> Vec<Record> {
    let keep = |mut record: Record| {
        let kind = u16::from(record.record_type());
        match &mut record.data {
            RData::HTTPS(https) => strip(&mut https.0).then_some(record),
            RData::SVCB(svcb) => strip(svcb).then_some(record),
            _ if matches!(kind, TYPE_SVCB | TYPE_HTTPS) => None,
            _ => Some(record),
        }
    };
    records.into_iter().filter_map(keep).collect()
}

/// RFC 1035, section 4.2.1.
const MIN_UDP_ANSWER_BYTES: u16 = 512;
const TYPE_SVCB: u16 = 64;
const TYPE_HTTPS: u16 = 65;

/// Removes the parameters; false when the record is of no use without them.
fn strip(svcb: &mut SVCB) -> bool {
    let leads_past = |key: &SvcParamKey| {
        matches!(key, SvcParamKey::EchConfigList | SvcParamKey::Ipv4Hint | SvcParamKey::Ipv6Hint)
    };
    svcb.svc_params.retain(|(key, _)| !leads_past(key));
    !svcb
        .svc_params
        .iter()
        .any(|(_, value)| matches!(value, SvcParamValue::Mandatory(keys) if keys.0.iter().any(leads_past)))
}

/// Labels are bytes on the wire, also dots and NUL; as text only those of host names are taken.
fn host_of(name: &Name) -> Result<Host, DnsError> {
    let mut text = String::new();
    for label in name.iter() {
        if !text.is_empty() {
            text.push('.');
        }
        let label = std::str::from_utf8(label).ok().filter(|l| l.is_ascii() && !l.contains('.'));
        text.push_str(label.ok_or(DnsError::Name(HostError::Character))?);
    }
    match Host::parse(&text).map_err(DnsError::Name)? {
        Host::Address(_) => Err(DnsError::NameIsAddress),
        host => Ok(host),
    }
}

#[cfg(test)]
mod tests;
