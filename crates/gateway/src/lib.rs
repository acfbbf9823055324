//! The one network exit: what a cell sends lands on sockets that the broker holds; each name, connection and request goes
//! through the pipeline, and what policy allows is carried on to the address that was checked.
//!
//! Read `connection` first: it is the way of one connection. `names` answers the cell's queries, `destination` finds out what
//! a destination really is, `http` carries requests. `exit` is the state of a session; `SessionGateway` takes it, the session
//! and the pipeline to whatever serves.
#![forbid(unsafe_code)]

mod alerts;
mod body;
mod budget;
mod company_proxy;
mod connection;
mod destination;
mod dial;
mod exit;
mod fetch;
mod held;
mod http;
mod lease;
mod name_pace;
mod name_table;
mod names;
mod outgoing;
pub mod permissions;
mod prior_knowledge;
mod publish;
mod published_ports;
mod put_in;
mod refusal_text;
mod resolver;
mod ruled_names;
mod serve;
mod session_gateway;
mod tls;
mod window;

pub use company_proxy::Proxies;
pub use exit::Exit;
pub use fetch::{Fetch, Fetched, fetch};
pub use published_ports::Dial;
pub use put_in::put_in;
pub use serve::{publish, serve};
pub use session_gateway::SessionGateway;
