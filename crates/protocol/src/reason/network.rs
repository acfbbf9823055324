//! The network exit.

use super::row::{Group, reasons};

pub(super) const EXIT: Group = Group {
    title: "The network exit",
    about: "What is refused before, beside or after policy (rule `broker.CODE`).",
    reasons: reasons! {
        "fronting" alerts: "The connection is for one host, but its TLS or its request is for another."
            => "Connect to the host that is meant.";
        "odd_protocol": "Traffic to this host and port is inspected, and this is not the protocol that it is for."
            => "The user gives the host a rule with pass_through = true.";
        "bad_start": "The connection begins with nothing that can be read."
            => "Begin with a TLS ClientHello or an HTTP request.";
        "bad_request": "The request is malformed or not supported."
            => "Send plain HTTP/1.1 or HTTP/2 without upgrades, CONNECT and trailers.";
        "held_too_much": "The session's bodies and answers that wait to be handed on are as many bytes as the broker holds (4 GiB, 128 MiB of them in memory)."
            => "Wait for other requests to end.";
        "bad_body": "The body of the request cannot be read."
            => "Send it with a right length or chunking.";
        "bad_message": "A WebSocket message cannot be read or is too long; the conversation is not carried on."
            => "Send messages up to 1 MiB without compression.";
        "bad_proxy_request": "The proxy does not support this request."
            => "Use HTTP or SOCKS5 CONNECT.";
        "unknown_address": "The address is no placeholder of this session and no address that may be connected to."
            => "Connect to a name, not to an address that was remembered.";
        "cannot_resolve": "The name does not resolve, or not in time."
            => "Check the name.";
        "unreachable": "The server does not answer, or not as it should."
            => "Try again later.";
        "bad_certificate": "The server's certificate is not trusted by this machine."
            => "The user checks the server, or adds its CA certificate to the machine's trust store.";
        "no_roots": "This machine has no CA certificates to verify servers with."
            => "Install the package ca-certificates.";
        "no_authority": "No session CA can be made."
            => "";
        "no_exit": "The network exit or the published ports cannot be served."
            => "";
    },
};

pub(super) const NAMES: Group = Group {
    title: "Names that carry data",
    about: "Values of `input.net.tunnel`, recorded with `dns_tunnel`.",
    reasons: reasons! {
        "hidden_text": "A label decodes to text."
            => "";
        "encoded_label": "A label is long and random."
            => "";
        "long_name": "The name below its domain is longer than names are."
            => "";
        "equal_labels": "The name is cut into labels of one length."
            => "";
        "odd_type": "The record type is one that tunnels use and programs do not."
            => "";
        "type_flood": "There are too many queries for record types that carry free content."
            => "";
        "many_identifiers": "There are too many different random names below one domain."
            => "";
        "many_names": "There are too many different names below one domain."
            => "";
        "known_value": "The name, or the names before it, hold a key or a registered value."
            => "";
        "volume": "The names below one domain add up to too many bytes."
            => "";
        "many_queries": "There are too many queries for one domain."
            => "";
        "many_domains": "There are queries for too many different domains."
            => "";
    },
};

pub(super) const BUDGETS: Group = Group {
    title: "Budgets",
    about: "The second reason beside `over_budget` and `budget_nearly_used`.",
    reasons: reasons! {
        "destination_bytes": "Bytes sent to this host."
            => "`upload_bytes` of the rule.";
        "total_bytes": "Bytes sent in the session."
            => "`limits.upload_bytes` of the profile.";
        "values": "Different personal values sent to this host."
            => "";
        "requests": "Connections and requests a minute."
            => "`limits.requests_per_minute` of the profile.";
        "messages": "Messages of WebSockets a minute."
            => "";
        "destinations": "Different hosts."
            => "";
        "looks": "Bytes a minute that were inspected and then refused."
            => "Wait a minute.";
    },
};

pub(super) const ALERTS: Group = Group {
    title: "Alerts of the network exit",
    about: "Raised beside single decisions; nothing is refused by them alone.",
    reasons: reasons! {
        "many_connections": "There were more than ten connections or queries within ten minutes for one destination that the user did not name."
            => "Look at `chaperone audit query --action connect`.";
        "many_destinations": "More than ten different destinations were refused within ten minutes."
            => "Look at `chaperone why`.";
        "first_contact": "The session connects for the first time to a host that only a wildcard, a network or a grant allows."
            => "";
        "budget_nearly_used": "A budget is nearly used up."
            => "Look at what was sent: `chaperone audit query --action request`.";
        "not_all_remembered": "A staged or read-only directory holds more than is remembered: passages of the rest are not recognised when they leave."
            => "Mount only what the task needs, or use mode = \"mediated\".";
    },
};
