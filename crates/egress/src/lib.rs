//! The pure parts of the network exit: what a stream, a query or a request is, and whether it may leave.
//!
//! Everything here reads what a hostile program in the cell wrote. There are no sockets, no clock and no processes: bytes and
//! milliseconds come in, facts, verdicts and answers go out. Memory and work are bounded by limits that each module names.
//!
//! - [`Host`] and [`address`]: one spelling of a name, every spelling of an address, and what an address reaches
//! - [`AllowSet`]: the rules of a session
//! - [`client_hello`], [`http_start`], [`proxy_head`], [`dns`], [`request`], [`codings`], [`websocket`]: what is said on the wire
//! - [`headers`]: which headers decisions know by name
//! - [`QueryWatch`]: data that leaves in names; [`Budget`]: data that leaves in small pieces
#![forbid(unsafe_code)]

pub mod address;
pub mod client_hello;
pub mod codings;
pub mod dns;
pub mod headers;
pub mod http_start;
pub mod proxy_head;
pub mod request;
pub mod websocket;

mod allow;
mod allow_rule;
mod budget;
mod host;
mod localhost;
mod path;
mod tunnel;
mod tunnel_label;
mod websocket_message;

pub use allow::AllowSet;
pub use allow_rule::{HostPattern, MAX_LIST, Rule, RuleError};
pub use budget::{Budget, Level, Limits, MAX_DESTINATIONS, MAX_VALUES, Over, Spent, Taken};
pub use host::{Host, HostError, MAX_LABEL_BYTES, MAX_NAME_BYTES};
pub use localhost::with_localhost;
pub use path::{MAX_PATH_BYTES, PathError, PathGlob, normalise};
pub use tunnel::{QueryWatch, Reason, Verdict, registered_domain};
pub use websocket_message::{Message, MessageReader};
